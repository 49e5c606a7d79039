"""The account's definitions change between runs and during one: only the field that changed is left out."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from syncline.catalog import service as catalog
from syncline.catalog.models import CatalogChange
from syncline.contract import (
    AuthError,
    Code,
    ConfigError,
    Kind,
    Retryable,
)
from syncline.ledger.models import Entry, ErrorGroup, Link
from syncline.runs import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.push import definitions, reader, results, sender
from syncline.runs.start import start_run
from syncline.syncs import publish
from syncline.syncs.engine import MappingInvalid
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.account import NICK, SIZE, SIZES, Account  # noqa: E402
from pushing.lab import Lab, counts, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)

RULES: dict[str, dict[str, Any]] = {
    "name": {},
    "email": {},
    "city": {},
    "nick": {"source": "username"},
    "size": {"source": "city"},
}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def lab(account: Account, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Lab]:
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    settings.SYNCLINE_DRIFT_SECONDS = 0.0
    settings.SYNCLINE_CATALOG_MAX_AGE = 3600.0
    with installed(account):
        yield Lab(account)


def people(number: int, start: int = 0) -> list[User]:
    """Their cities are sizes, one after the other."""
    return User.objects.bulk_create(
        User(username=f"u{n:05}", first_name=f"Name {n}", last_name=SIZES[n % 3], email=f"p{n}@example.org")
        for n in range(start, start + number)
    )


def suspended(run: Run) -> dict[str, int]:
    """Fields that the run says are suspended, each with its records where it is not all of them."""
    return dict(ErrorGroup.objects.filter(run_id=run.pk, code="suspended").values_list("property", "count"))


def assert_all_there(account: Account, number: int, *fields: str) -> None:
    """Everybody once, with these fields."""
    here = {
        f"p{n}@example.org": {"name": f"Name {n}", "nick": f"u{n:05}", "city": SIZES[n % 3], "size": SIZES[n % 3]}
        for n in range(number)
    }
    there = account.live()
    assert sorted(str(one.properties["email"]) for one in there) == sorted(here)
    for one in there:
        wanted = here[str(one.properties["email"])]
        assert {name: one.properties.get(name) for name in fields} == {name: wanted[name] for name in fields}


def forget_hour() -> None:
    """As if the last discovery was long ago."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncline_objectsnapshot SET discovered_at = discovered_at - interval '2 hours'")


# during a run


def test_a_property_lost_in_mid_run_costs_only_its_field(lab: Lab, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "CHUNK", 50)
    people(600)
    sync = lab.sync(RULES)
    account.at[20] = lambda: account.lose("nick")
    before = account.discoveries

    run = lab.run(sync)

    assert (run.state, run.reason) == (Run.State.PROBLEMS, "1 field suspended: nick.")
    assert (counts(run), run.read) == ({"created": 600}, 600)
    assert_all_there(account, 600, "name", "city", "size")
    assert suspended(run) == {"nick": 0}
    assert account.discoveries - before == 1  # however many threads were refused
    assert 0 < account.refusals[Code.UNKNOWN_PROPERTY] <= 100  # what was on its way, no more
    put_off = sum(len(part.keys) for part in run.parts.filter(kind=RunPart.Kind.KEYS))
    assert account.refusals[Code.UNKNOWN_PROPERTY] <= put_off <= 200  # and what was read; the rest is mapped anew at once
    assert not Link.objects.exclude(state=Link.State.DELIVERED)

    calls = len(account.pushes)
    again = lab.run(sync)
    assert (len(account.pushes), counts(again)) == (calls, {"unchanged": 600})
    assert again.reason == "1 field suspended: nick."


def test_many_things_change_at_once_and_only_they_are_left_out(lab: Lab, account: Account) -> None:
    people(400)
    sync = lab.sync(RULES)

    def everything() -> None:
        account.change("city", kind=Kind.NUMBER)
        account.lose("nick")
        account.without_choice("size", "huge")

    account.at[12] = everything
    run = lab.run(sync)

    assert run.reason == "3 fields suspended: city, nick, size."
    assert (counts(run), run.read) == ({"created": 400}, 400)
    assert_all_there(account, 400, "name")
    sizes = [one.properties.get("size") for one in account.live()]
    assert sizes.count("small") == 134
    assert sizes.count("large") == 133
    assert sizes.count("huge") < 133  # those that were created before keep it


def test_a_choice_lost_is_left_out_only_where_it_is_the_value(lab: Lab, account: Account) -> None:
    people(300)
    sync = lab.sync(RULES)
    lab.run(sync)
    User.objects.filter(last_name="large", username__gte="u00150").update(last_name="huge")
    account.without_choice("size", "huge")
    catalog.refresh(lab.connection)

    run = lab.run(sync)

    assert run.reason == "1 field suspended: size."
    assert counts(run) == {"updated": 50, "unchanged": 250}  # their city is told
    assert suspended(run) == {"size": 150}
    assert {one.properties["size"] for one in account.live() if one.properties["city"] == "huge"} == {"huge", "large"}
    assert account.refusals == {}
    link = Link.objects.filter(code="suspended").first()
    assert link is not None
    assert link.state == Link.State.DELIVERED
    assert "no longer offers the choice “huge”" in link.reason

    calls = len(account.pushes)
    assert suspended(lab.run(sync)) == {"size": 150}  # said in every run
    assert len(account.pushes) == calls

    account.change("size", choices=SIZE.choices)
    catalog.refresh(lab.connection)
    back = lab.run(sync)
    assert (back.state, counts(back)) == (Run.State.SUCCEEDED, {"updated": 50, "unchanged": 250})
    assert_sizes_follow_cities(account)


def assert_sizes_follow_cities(account: Account) -> None:
    assert all(one.properties["size"] == one.properties["city"] for one in account.live())


def test_several_workers_learn_of_it_and_ask_the_account_once(lab: Lab, account: Account, settings: Any) -> None:
    settings.SYNCLINE_PART_ROWS = 100
    people(600)
    sync = lab.sync(RULES)
    account.at[10] = lambda: account.lose("nick")
    before = account.discoveries
    run = start_run(sync)

    def worker() -> None:
        try:
            while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
                execute.work(30.0, run.pk)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=worker) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join(60)
        assert not one.is_alive()

    run.refresh_from_db()
    assert run.reason == "1 field suspended: nick."
    assert (counts(run), run.read) == ({"created": 600}, 600)
    assert_all_there(account, 600, "name", "city", "size")
    assert account.discoveries - before <= 3  # each part asks only what nobody has asked since its own refusal


def test_a_refusal_with_the_same_definitions_is_the_records_own(
    lab: Lab, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    people(30)
    User.objects.filter(username="u00004").update(first_name="bad")
    sync = lab.sync(RULES)
    account.stubborn = "bad"
    before = account.discoveries

    run = lab.run(sync)

    assert counts(run) == {"created": 29, "rejected": 1}
    assert run.reason == "1 rejected."
    assert account.discoveries - before == 1
    assert lab.states() == {"delivered": 29, "rejected": 1}
    User.objects.filter(username="u00004").update(email="other@example.org")
    assert counts(lab.run(sync)) == {"unchanged": 29, "rejected": 1}
    assert account.discoveries - before == 1  # it has just said that nothing changed
    monkeypatch.setattr(definitions, "_trusted", {})
    User.objects.filter(username="u00004").update(email="another@example.org")
    assert counts(lab.run(sync)) == {"unchanged": 29, "rejected": 1}
    assert account.discoveries - before == 2


def test_an_account_that_cannot_be_asked_leaves_the_refusals_to_the_records(lab: Lab, account: Account) -> None:
    people(30)
    sync = lab.sync(RULES)

    def gone() -> None:
        account.lose("nick")
        account.cannot_tell = Retryable("There is no answer.")

    account.at[2] = gone
    run = lab.run(sync)
    assert counts(run) == {"created": 10, "rejected": 20}

    account.cannot_tell = None
    catalog.refresh(lab.connection)
    again = lab.run(sync)
    assert counts(again) == {"created": 20, "unchanged": 10}
    assert again.reason == "1 field suspended: nick."


def test_the_loss_of_a_match_property_ends_the_run(lab: Lab, account: Account) -> None:
    people(100)
    sync = lab.sync(RULES)
    account.at[3] = lambda: account.lose("email")

    run = lab.run(sync)

    assert run.state == Run.State.FAILED
    assert "“people” no longer has the property “email”" in run.reason
    assert len(account.live()) < 100
    sent = len(account.pushes)
    with pytest.raises(MappingInvalid, match="no longer has the property “email”"):
        publish.compiled(current(sync))
    assert lab.run(sync).state == Run.State.FAILED
    assert len(account.pushes) == sent


def current(sync: Sync) -> Any:
    sync.refresh_from_db()
    assert sync.current is not None
    return sync.current


# between runs


@pytest.mark.parametrize(
    ("change", "back"),
    [
        (lambda account: account.lose("nick"), lambda account: account.known.update(nick=NICK)),
        (lambda account: account.change("nick", read_only=True), lambda account: account.change("nick", read_only=False)),
        (lambda account: account.change("nick", kind=Kind.NUMBER), lambda account: account.change("nick", kind=Kind.STRING)),
    ],
    ids=["removed", "read-only", "type"],
)
def test_a_suspended_field_comes_back_and_is_sent_where_it_differs(lab: Lab, account: Account, change: Any, back: Any) -> None:
    people(40)
    sync = lab.sync(RULES)
    lab.run(sync)
    change(account)
    catalog.refresh(lab.connection)
    sent = len(account.pushes)

    run = lab.run(sync)
    assert (run.reason, counts(run)) == ("1 field suspended: nick.", {"unchanged": 40})
    assert len(account.pushes) == sent
    assert "nick" in lab.link(User.objects.get(username="u00003")).delivered

    back(account)
    for held in account.live():  # most values have survived, or a person filled them in
        name = User.objects.get(email=held.properties["email"]).username
        held.properties["nick"] = name if name < "u00030" else "another"
    User.objects.filter(username="u00001").update(first_name="Changed")
    catalog.refresh(lab.connection)
    again = lab.run(sync)

    assert (again.state, counts(again)) == (Run.State.SUCCEEDED, {"updated": 11, "unchanged": 29})
    written = [one for call in account.pushes[sent:] for one in call.changes]
    assert sorted(str(sorted(one.properties)) for one in written) == ["['name']"] + ["['nick']"] * 10
    assert {one.properties["nick"] for one in account.live()} == {f"u{n:05}" for n in range(40)}
    (told,) = CatalogChange.objects.filter(object_type="people")
    assert told.settled_at is not None
    sent = len(account.pushes)
    assert counts(lab.run(sync)) == {"unchanged": 40}
    assert len(account.pushes) == sent


def test_publishing_again_accepts_what_changed(lab: Lab, account: Account) -> None:
    people(9)
    sync = lab.sync(RULES)
    lab.run(sync)
    account.change("city", kind=Kind.CHOICE, choices=SIZE.choices[:2], label="Town")
    account.change("nick", label="Called")
    catalog.refresh(lab.connection)
    assert [(one.target, one.aspect) for one in publish.drift(current(sync))] == [("city", "kind")]

    first = current(sync).number
    version = publish.publish(sync, lab.owner)

    assert version.number == first + 1
    assert publish.drift(version) == ()
    assert publish.publish(sync, lab.owner) == version
    run = lab.run(sync)
    assert counts(run) == {"rejected": 3, "unchanged": 6}  # “huge” is no town


def test_a_sync_that_is_to_stop_stops(lab: Lab, account: Account) -> None:
    people(100)
    sync = lab.sync(RULES, drift_policy=Sync.DriftPolicy.STOP)
    account.at[3] = lambda: account.lose("nick")

    run = lab.run(sync)

    assert run.state == Run.State.FAILED
    assert "“people” no longer has the property “nick”. This sync stops" in run.reason
    assert "publish it again" in run.reason
    assert len(account.live()) < 100
    sent = len(account.pushes)
    with pytest.raises(ConfigError, match="no longer has the property “nick”"):
        start_run(sync)
    Sync.objects.update(drift_policy=Sync.DriftPolicy.SUSPEND)
    sync.refresh_from_db()
    again = lab.run(sync)
    assert again.reason == "1 field suspended: nick."
    assert len(account.live()) == 100
    assert len(account.pushes) > sent


# asking the account


def test_a_run_asks_once_an_hour_and_many_at_once_ask_once(lab: Lab, account: Account) -> None:
    people(3)
    sync = lab.sync(RULES)
    start = account.discoveries
    lab.run(sync)
    assert account.discoveries == start
    forget_hour()
    account.lose("nick")
    together = threading.Barrier(4)

    def ask() -> None:
        try:
            together.wait()
            catalog.freshen(lab.connection)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)

    assert account.discoveries == start + 1
    assert CatalogChange.objects.filter(object_type="people").get().aspect == "removed"
    forget_hour()
    assert lab.run(sync).reason == "1 field suspended: nick."
    assert account.discoveries == start + 2


def test_a_run_goes_on_with_what_is_stored_while_the_account_cannot_say(lab: Lab, account: Account) -> None:
    people(3)
    sync = lab.sync(RULES)
    forget_hour()
    account.cannot_tell = Retryable("There is no answer.")
    assert counts(lab.run(sync)) == {"created": 3}

    account.cannot_tell = AuthError("Who are you?")
    refused = lab.run(sync)
    assert (refused.state, refused.reason) == (Run.State.FAILED, "Who are you?")


def test_an_attempt_that_was_put_off_stands_in_the_ledger(lab: Lab, account: Account) -> None:
    people(10)
    sync = lab.sync(RULES)
    account.at[1] = lambda: account.lose("nick")
    lab.run(sync)

    assert set(Entry.objects.values_list("op", "status")) == {("upsert", "rejected"), ("upsert", "created")}
    assert Entry.objects.count() == 20
    refused = Entry.objects.filter(status="rejected").first()
    assert refused is not None
    assert (refused.code, refused.message) == ("unknown_property", "There is no nick. The account changed; it is sent again.")
    assert set(Link.objects.values_list("code", "reason")) == {("", "")}
