"""A canonical value against its property's schema: each refusal is a sentence, and no check is left out for speed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from syncline.contract import Choice, Code, Kind, Property, Value
from syncline.syncs.engine import Unmappable
from syncline.syncs.engine.validation import SchemaUnusable, checks

pytestmark = pytest.mark.unit

COUNTRIES = tuple(Choice(code, code) for code in ("GB", "IE", "FR", "DE", "ES", "IT", "PT", "NL", "BE", "LU"))


def refusal(prop: Property, value: Value) -> Unmappable | None:
    for check in checks(prop):
        try:
            check(value)
        except Unmappable as error:
            return error
    return None


def prop(kind: Kind, schema: dict[str, Any] | None = None, choices: tuple[Choice, ...] = ()) -> Property:
    return Property("p", "P", kind, schema or {}, choices)


CASES: list[tuple[Property, Value, Code, str]] = [
    (
        prop(Kind.STRING, {"type": "string", "maxLength": 5}),
        "abcdef",
        Code.TOO_LONG,
        "“abcdef” has 6 characters; at most 5 are allowed."
        " Shorten it in the record, or add the transform “truncate” with length 5",
    ),
    (
        prop(Kind.CHOICE, choices=COUNTRIES),
        "gb",
        Code.INVALID_CHOICE,
        "“gb” is not one of the choices (GB, IE, FR, DE, ES, IT, PT, NL and 2 more). Add the transform “choice_map”",
    ),
    (prop(Kind.CHOICE, {"enum": ["a", "b"]}), "c", Code.INVALID_CHOICE, "“c” is not one of the choices (a, b)"),
    (
        prop(Kind.SET, {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "uniqueItems": True}),
        ("a", "c"),
        Code.INVALID_CHOICE,
        "“c” is not one of the choices (a, b)",
    ),
    (prop(Kind.SET, choices=COUNTRIES[:2]), ("XX",), Code.INVALID_CHOICE, "“XX” is not one of the choices (GB, IE)"),
    (prop(Kind.NUMBER, {"minimum": 0}), -1, Code.INVALID_VALUE, "“-1” is less than 0, the least allowed"),
    (prop(Kind.NUMBER, {"maximum": 1.5}), Decimal("1.6"), Code.INVALID_VALUE, "“1.6” is more than 1.5, the most allowed"),
    (
        prop(Kind.NUMBER, {"type": "integer"}),
        Decimal("1.6"),
        Code.INVALID_VALUE,
        "“1.6” is not a whole number. Add the transform",
    ),
    (prop(Kind.EMAIL), "jo", Code.INVALID_VALUE, "“jo” is not an e-mail address"),
    (
        prop(Kind.STRING, {"pattern": "^[A-Z]+$"}),
        "abc",
        Code.INVALID_VALUE,
        "“abc” does not fit the property: 'abc' does not match '^[A-Z]+$' (pattern: ^[A-Z]+$).",
    ),
    (prop(Kind.NUMBER, {"multipleOf": 0.5}), Decimal("1.25"), Code.INVALID_VALUE, "1.25 is not a multiple of 0.5"),
    (prop(Kind.SET, {"maxItems": 1}), ("a", "b"), Code.INVALID_VALUE, "is too long (maxItems: 1)"),
    (prop(Kind.STRING, {"type": "number"}), "a", Code.INVALID_VALUE, "'a' is not of type 'number'"),
    (prop(Kind.STRING, {"enum": [None]}), "a", Code.INVALID_VALUE, "'a' is not one of [None]"),
    (prop(Kind.SET, {"items": {"enum": [1]}}), ("a",), Code.INVALID_VALUE, "'a' is not one of [1]"),
    (prop(Kind.NUMBER, {"enum": [1, 2]}), 3, Code.INVALID_VALUE, "3 is not one of [1, 2]"),
]


@pytest.mark.parametrize(("definition", "value", "code", "said"), CASES)
def test_a_value_that_does_not_fit_is_refused_in_a_sentence(definition: Property, value: Value, code: Code, said: str) -> None:
    error = refusal(definition, value)

    assert error is not None
    assert said in str(error)
    assert error.code is code


@pytest.mark.parametrize(
    ("definition", "value"),
    [
        (prop(Kind.STRING, {"type": "string", "maxLength": 5}), "abcde"),
        (prop(Kind.STRING, {"type": ["string", "null"], "pattern": "^a"}), "ab"),
        (prop(Kind.CHOICE, choices=COUNTRIES), "GB"),
        (prop(Kind.CHOICE), "anything"),
        (prop(Kind.SET, choices=COUNTRIES), ("FR", "GB")),
        (prop(Kind.NUMBER, {"type": "integer", "minimum": 0, "maximum": 9}), 9),
        (prop(Kind.NUMBER, {"type": "number", "multipleOf": 0.5}), Decimal("1.5")),
        (prop(Kind.BOOLEAN, {"type": "boolean"}), True),
        (prop(Kind.NUMBER, {"enum": ["a", 1]}), 1),
        (prop(Kind.EMAIL, {"type": "string", "format": "email"}), "jo@example.org"),
    ],
)
def test_a_value_that_fits_passes(definition: Property, value: Value) -> None:
    assert refusal(definition, value) is None


def test_a_plain_schema_costs_no_validator() -> None:
    assert checks(prop(Kind.STRING, {"type": "string", "title": "T", "format": "uri"})) == ()
    assert checks(prop(Kind.DATE, {"type": "string", "format": "date"})) == ()
    assert len(checks(prop(Kind.STRING, {"type": "string", "maxLength": 5}))) == 1


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"pattern": "("}, {"maxLength": "5"}, {"required": True}])
def test_a_schema_that_is_none_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaUnusable):
        checks(prop(Kind.STRING, schema))


KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "number", "integer", "array", ["string", "null"]]),
        "maxLength": st.integers(0, 4),
        "minLength": st.integers(0, 3),
        "enum": st.lists(st.sampled_from(["a", "b", 1, None]), min_size=1, max_size=3, unique=True),
        "minimum": st.integers(-2, 2),
        "maximum": st.sampled_from([0, 1.5, 3]),
        "maxItems": st.integers(0, 2),
        "items": st.sampled_from(
            [
                {"type": "string"},
                {"enum": ["a"]},
                {"enum": [1]},
                {"enum": ["a", 1]},
                {"type": "string", "maxLength": 1},
                {"type": "number"},
            ]
        ),
    },
)
VALUES = {
    Kind.STRING: st.text(alphabet="ab", min_size=1, max_size=5),
    Kind.NUMBER: st.integers(-3, 4) | st.decimals(-3, 4, places=1).filter(lambda d: d % 1 != 0),
    Kind.BOOLEAN: st.booleans(),
    Kind.SET: st.sets(st.sampled_from("abc"), min_size=1).map(lambda s: tuple(sorted(s))),
}


@settings(max_examples=500)
@given(data=st.data(), kind=st.sampled_from(sorted(VALUES)), schema=KEYWORDS)
def test_quick_checks_decide_as_a_full_validator_does(data: st.DataObject, kind: Kind, schema: dict[str, Any]) -> None:
    value = data.draw(VALUES[kind])
    plain = list(value) if isinstance(value, tuple) else float(value) if isinstance(value, Decimal) else value

    assert (refusal(prop(kind, schema), value) is None) is jsonschema.Draft202012Validator(schema).is_valid(plain)
