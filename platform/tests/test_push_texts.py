"""Texts from a system that PostgreSQL or JSON cannot hold: a run says what it was told, and goes on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from syncline.contract import Code, ConfigError, OutcomeUnknown, PushResult, RecordError, Status
from syncline.contract.http import Response
from syncline.runs.models import Run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor, answering, raising  # noqa: E402

BROKEN = pytest.mark.parametrize("text", ["a\0b", "half \ud83d"])


@pytest.fixture
def lab() -> Iterator[Lab]:
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def refusing(text: str) -> object:
    def refused(results: list[PushResult]) -> list[PushResult]:
        error = RecordError(Code.INVALID_VALUE, text, text, vendor_code=text)
        return [PushResult(one.local_key, Status.REJECTED, error=error) for one in results]

    return answering(refused)


@BROKEN
@pytest.mark.django_db(transaction=True)
def test_a_refusal(lab: Lab, text: str) -> None:
    lab.people(3)
    lab.vendor.faults.append(refusing(text))  # type: ignore[arg-type]
    run = lab.run(lab.sync())
    assert (run.state, counts(run)) == (Run.State.PROBLEMS, {"rejected": 3})
    assert lab.groups(run)["invalid_value"].count == 3


@BROKEN
@pytest.mark.django_db(transaction=True)
def test_an_error(lab: Lab, text: str) -> None:
    lab.people(3)
    lab.vendor.faults.append(raising(ConfigError(f"Wrong: {text}")))
    run = lab.run(lab.sync())
    assert run.state == Run.State.FAILED
    assert run.reason.startswith("Wrong: ")


@BROKEN
@pytest.mark.parametrize("kind", [Run.Kind.FULL, Run.Kind.PLAN])
@pytest.mark.django_db(transaction=True)
def test_a_record_in_the_account(lab: Lab, text: str, kind: str) -> None:
    lab.people(2)
    lab.vendor.seed("people", email=f"{text}@example.org", name="Somebody")
    lab.vendor.seed("people", email="p1@example.org", name=text)
    run = lab.run(lab.sync(), kind)
    assert (run.state, counts(run)) == (Run.State.SUCCEEDED, {"created": 1, "adopted": 1})


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_an_empty_text_is_read_once(lab: Lab) -> None:
    User.objects.create(username="", first_name="Nameless", email="nameless@example.org")
    run = lab.run(lab.sync(dataset="test.named"))
    assert (run.state, run.read, counts(run)) == (Run.State.SUCCEEDED, 1, {"created": 1})


@pytest.mark.unit
class TestAnswers:
    def read(self, body: bytes) -> object:
        return Response(200, {}, body, "GET", "/things").json()

    def test_half_a_character_becomes_a_question_mark(self) -> None:
        assert self.read(rb'{"a": "cut \ud83d", "b": "\ud83d\ude00 \\ud83d"}') == {"a": "cut ?", "b": "\U0001f600 \\ud83d"}

    @pytest.mark.parametrize("body", [b"<html>", b"NaN", b"1e999", b"\xff", b'{"a": "\\ud83d"', b"[" * 100_000])
    def test_what_is_no_json_stays_unknown(self, body: bytes) -> None:
        with pytest.raises(OutcomeUnknown, match="not JSON"):
            self.read(body)
