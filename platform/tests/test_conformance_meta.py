"""The suite's own proof: the honest example keeps every rule, and what the suite says of a target or connector that is odd."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from syncline.contract import ConnectorSpec, Http, ObjectType, OutcomeUnknown, Page, PullRequest, Response, Session, hookimpl
from syncline.contract.testing.delivery import Delivery
from syncline.contract.testing.lab import opened
from syncline.contract.testing.proxy import Fault
from syncline.contract.testing.suite import CHECKS, conformance, left_out
from syncline.contract.testing.target import Server

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "docs" / "examples" / "notes"
sys.path += [path for path in (str(EXAMPLE / "src"), str(HERE)) if path not in sys.path]

from saboteurs import describing, modest  # noqa: E402
from saboteurs.trial import failing_checks, honest_target, in_a_thread, installed, outcome  # noqa: E402
from syncline_notes.connector import Notes  # noqa: E402

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module", autouse=True)
def example(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("site")):
        yield


def test_the_honest_connector_keeps_every_rule() -> None:
    target = honest_target()
    assert failing_checks(Notes(), target) == {}
    with opened(Notes(), target) as lab:
        assert [name for name, check in CHECKS.items() if left_out(check, lab)] == []


class EverythingRepeats(Http):
    """What a connector gets that marks its creates as repeatable."""

    def request(self, *args: Any, **options: Any) -> Response:
        return super().request(*args, **{**options, "repeatable": True})


def test_a_create_marked_repeatable_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The likeliest way to repeat one: it also hides that the outcome is unknown."""
    monkeypatch.setattr("syncline.contract.testing.lab.Http", EverythingRepeats)
    failed = failing_checks(Notes(), honest_target())
    assert set(failed) == {"no-repeat", "outcome-unknown", "bulk-once"}
    assert "writes were sent" in failed["no-repeat"]


@contextmanager
def without_touch(connector: ConnectorSpec) -> Iterator[Server]:
    with in_a_thread(connector) as server:
        yield replace(server, touch=None)


MISSING: list[tuple[str, dict[str, Any], str]] = [
    ("bad-record", {"rejected": None}, "rejected"),
    ("refusal", {"refusal": None}, "refusal"),
    ("bulk-refusal", {"refusal": None}, "refusal"),
    ("bulk-results", {"rejected": None}, "rejected"),
    ("missing-record", {"missing_id": ""}, "missing_id"),
    ("fetch-gone", {"missing_id": ""}, "missing_id"),
    ("pull-moment", {"server": without_touch}, "touch"),
    ("removal", {"missing_id": ""}, "missing_id"),
    ("pull-empty-page", {"empty_pages": ()}, "empty_pages"),
    ("webhook-genuine", {"webhooks": ()}, "webhooks"),
    ("webhook-unknown", {"webhooks": (Delivery(sign=lambda *_: {}),)}, "webhooks"),
    ("create-properties", {"create": ()}, "create"),
    ("suggested-mapping", {"dataset": None}, "dataset"),
    ("round-trip", {"record": lambda n: {"title": f"Note {n}"}}, "record"),
    ("results-by-key", {"record": lambda n: {"title": "Always the same"}}, "record"),
    ("clear", {"record": lambda n: {"title": f"Note {n}"}}, "record"),
    ("log-round-trip", {"log": None}, "log"),
    ("log-resume", {"log": ("notes", lambda n: {"title": f"Note {n}"})}, "log"),
]


@pytest.mark.parametrize(("check", "lacking", "named"), MISSING, ids=[f"{check}-{named}" for check, _, named in MISSING])
def test_a_missing_sample_fails_and_is_named(check: str, lacking: dict[str, Any], named: str) -> None:
    with opened(Notes(), replace(honest_target(), **lacking)) as lab:
        assert f"`{named}`" in outcome(check, lab)


def test_records_to_be_associated_with_are_asked_for() -> None:
    with opened(modest.LinkedElsewhere(), honest_target()) as lab:
        assert "`partner`" in outcome("associations", lab)


SINCE = ("pull-since", "since-resume", "pull-moment", "pull-until", "modified-at")


def test_what_an_object_does_not_declare_is_left_out_and_named() -> None:
    with opened(modest.PullsNothingSpecial(), honest_target()) as lab:
        said = {name: outcome(name, lab) for name in CHECKS}
    assert {name: text for name, text in said.items() if text} == {
        **dict.fromkeys(SINCE, "LeftOut: the object declares no `pull_since`"),
        "pull-archived": "LeftOut: the object declares no `pull_archived`",
        "archived-since": "LeftOut: the object declares no `pull_archived` with `pull_since`",
        "history": "LeftOut: the object declares no `pull_history`",
        "follow": "LeftOut: the object declares no `follow`, and is no log",
        "associations": "LeftOut: the object declares no `associations`",
        "removal": "LeftOut: the object declares no archive or delete among its `batch_sizes`",
    }


def test_the_proxy_edits_one_answer_and_lets_the_next_pass() -> None:
    other = Fault(edit=lambda _: {"id": "other", "name": "Other"}, once=True)
    with opened(Notes(), honest_target()) as lab, lab.proxy.playing(other):
        assert [lab.call.check(session=lab.session()).id for _ in range(2)] == ["other", "acc-1"]


def test_a_check_is_left_out_only_for_a_reason() -> None:
    excused = replace(honest_target(), skip={"clear": "Notes keeps what it has."})
    with opened(describing.HidesMatch(), excused) as lab:
        reasons = {name: left_out(check, lab) for name, check in CHECKS.items()}
    assert {name: reason for name, reason in reasons.items() if reason} == {
        "clear": "Notes keeps what it has.",
        "match": "notes does not offer match",
    }


class NeverEnds(Notes):
    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        while True:  # until the server is gone
            yield from super().pull(session, object_type, request)


class EndsTheProcess(Notes):
    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        raise SystemExit(3)


def test_a_pull_without_an_end_is_a_breach_and_does_not_hang_the_suite() -> None:
    with opened(NeverEnds(), replace(honest_target(), patience=1.0)) as lab:
        assert "pull-resume: After 1 s it had not ended." in outcome("pull-resume", lab)
        assert outcome("upsert-once", lab) == "upsert-once: Not run, because pull-resume has not ended and may still write."


def test_a_connector_that_ends_the_process_does_not_end_the_suite() -> None:
    with opened(EndsTheProcess(), honest_target()) as lab:
        assert "It tried to end the process: SystemExit(3)" in outcome("pull-resume", lab)


@pytest.mark.parametrize(
    ("skip", "said"), [({"claer": "A reason."}, "claer"), ({"clear": " "}, "without saying why")], ids=["unknown", "silent"]
)
def test_a_stale_or_silent_exemption_is_refused(skip: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        conformance(Notes, replace(honest_target(), skip=skip))


def test_the_proxy_forwards_before_it_cuts_and_counts_writes_only() -> None:
    with opened(Notes(), honest_target()) as lab:
        [change] = lab.changes(1)
        with lab.proxy.playing(Fault(cut=True, forward=True, writes=True)), pytest.raises(OutcomeUnknown):
            lab.push([change])
        assert lab.proxy.writes == 1
        lab.proxy.seen.clear()
        title = change.properties["title"]
        request = PullRequest(properties=("title",))
        pages = lab.call.pull(session=lab.session(), object_type=lab.object_type, request=request)
        assert [r.properties["title"] for page in pages for r in page.records] == [title]
        assert lab.proxy.seen
        assert lab.proxy.writes == 0


def test_the_connector_never_holds_the_credentials() -> None:
    with opened(Notes(), honest_target()) as lab:
        session: Session = lab.session()
        held = dict(session.http._auth.headers())
        assert lab.call.check(session=session).id == "acc-1"
        assert held == {"Authorization": f"Bearer {lab.canary}"}
