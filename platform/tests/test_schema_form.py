"""A connector's JSON Schema becomes a form that asks the right questions and keeps secrets to itself."""

from __future__ import annotations

from typing import Any

import pytest
from syncline.connections.schema_form import form_class

pytestmark = pytest.mark.unit
CANARY = "s3cr3t-c4n4ry"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "format": "uri", "title": "Address", "description": "Where it answers."},
        "mail": {"type": "string", "format": "email"},
        "version": {"type": "string", "enum": ["v3", "2026-03"], "default": "v3"},
        "level": {"enum": [1, 2], "title": "Level"},
        "pages": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        "fast": {"type": "boolean", "default": True},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "token": {"type": "string", "writeOnly": True, "minLength": 5},
    },
    "required": ["url", "token"],
    "additionalProperties": False,
}
Form = form_class(SCHEMA)
GOOD = {"url": "https://x.example", "token": CANARY, "pages": "7", "version": "2026-03", "level": "2", "fast": "on"}


def test_what_was_typed_becomes_json_of_the_right_types() -> None:
    form = Form(GOOD)

    assert form.is_valid(), form.errors
    assert form.result() == {
        "url": "https://x.example",
        "token": CANARY,
        "pages": 7,
        "version": "2026-03",
        "level": 2,
        "fast": True,
    }


def test_defaults_labels_and_help_are_shown() -> None:
    page = Form().as_p()

    for piece in ("Address", "Where it answers.", 'value="10"', "checked", '<option value="v3" selected>'):
        assert piece in page


def test_an_unticked_box_is_false_and_an_empty_field_is_left_out() -> None:
    form = Form({"url": "https://x.example", "token": CANARY})

    assert form.is_valid(), form.errors
    assert form.result() == {"url": "https://x.example", "token": CANARY, "fast": False}


@pytest.mark.parametrize("bound", [True, False])
def test_a_stored_secret_is_never_rendered(bound: bool) -> None:
    stored = {"url": "https://x.example", "token": CANARY}
    data = {"url": "", "token": CANARY} if bound else None
    page = Form(data, stored=stored, initial={"token": CANARY}).as_p()

    assert CANARY not in page
    assert 'type="password"' in page
    assert "Leave empty to keep what is stored." in page


def test_a_secret_left_empty_is_kept_and_a_new_one_replaces_it() -> None:
    stored = {"url": "https://old.example", "token": CANARY}
    kept = Form({"url": "https://new.example", "token": ""}, stored=stored)
    changed = Form({"url": "https://new.example", "token": "another-token"}, stored=stored)

    assert kept.is_valid(), kept.errors
    assert changed.is_valid(), changed.errors
    assert kept.result() == {"url": "https://new.example", "token": CANARY, "fast": False}
    assert changed.result()["token"] == "another-token"


@pytest.mark.parametrize("closed", [True, False])
def test_a_setting_of_an_older_version_goes_when_the_schema_forbids_it(closed: bool) -> None:
    schema = {**SCHEMA, "additionalProperties": not closed}
    form = form_class(schema)({"url": "https://x.example"}, stored={"token": CANARY, "older": 1})

    assert form.is_valid(), form.errors
    assert ("older" in form.result()) is not closed


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"url": "not an address"}, "url", "Address must be an address such as https://example.com."),
        ({"code": "abc"}, "code", "Code does not have the expected form (^[A-Z]+$)."),
        ({"token": ""}, "token", "This field is required."),
        ({"pages": "0"}, "pages", "Ensure this value is greater than or equal to 1."),
        ({"version": "v9"}, "version", "Select a valid choice. v9 is not one of the available choices."),
        ({"mail": "nobody"}, "mail", "Enter a valid email address."),
        ({"token": "abc"}, "token", "Ensure this value has at least 5 characters (it has 3)."),
    ],
)
def test_each_mistake_is_told_at_its_field(change: dict[str, str], field: str, sentence: str) -> None:
    form = Form({**GOOD, **change})

    assert not form.is_valid()
    assert form.errors[field] == [sentence]


def test_a_mistake_never_repeats_a_secret() -> None:
    schema = {"type": "object", "properties": {"token": {"type": "string", "writeOnly": True, "pattern": "^x"}}}
    form = form_class(schema)({"token": CANARY})

    assert not form.is_valid()
    assert CANARY not in str(form.errors) + form.as_p()
