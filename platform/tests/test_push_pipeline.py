"""The push from end to end over a vendor in memory whose faults are steered: no duplicates, no loss, exact counts."""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import F
from django.utils import timezone
from syncline.contract import (
    AuthError,
    Change,
    Code,
    ConnectorFault,
    ObjectType,
    Op,
    OutcomeUnknown,
    PushResult,
    RateLimited,
    RecordError,
    RecordRejected,
    Retryable,
    Status,
)
from syncline.ledger.models import Link
from syncline.ledger.resolve import link_by_hand, look_again, unlink
from syncline.runs import claims, execute
from syncline.runs.models import Run, RunPart
from syncline.runs.push import pipeline, reader, results, sender
from syncline.runs.start import start_run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor, answering, lost_answer, lost_request, raising  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Pauses are short; several threads push."""
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def assert_in_step(lab: Lab) -> None:
    """Each linked record of ours is one live record there, and no two have the same name."""
    links = {link.remote_id or "" for link in Link.objects.filter(object_type="people", remote_id__isnull=False)}
    live = [h.id for h in lab.vendor.live()]
    names = [h.properties["name"] for h in lab.vendor.live()]
    assert sorted(live) == sorted(links)
    assert len(set(names)) == len(names), "a duplicate"


# what becomes of each record


def test_a_first_push_creates_a_second_one_writes_nothing_and_a_third_sends_only_what_changed(lab: Lab) -> None:
    people, sync = lab.people(25), lab.sync()
    first = lab.run(sync)
    assert (first.state, counts(first), first.read) == ("succeeded", {"created": 25}, 25)
    assert_in_step(lab)
    lab.vendor.pushes.clear()

    second = lab.run(sync)
    assert (second.state, counts(second), lab.vendor.pushes) == ("succeeded", {"unchanged": 25}, [])

    User.objects.filter(pk=people[3].pk).update(last_name="Elsewhere")
    third = lab.run(sync)
    assert counts(third) == {"unchanged": 24, "updated": 1}
    (call,) = lab.vendor.pushes
    assert (call.op, dict(call.changes[0].properties)) == (Op.UPDATE, {"city": "Elsewhere"})
    assert lab.link(people[3]).delivered_at is not None


def test_a_record_that_is_there_is_adopted_one_that_is_there_twice_waits_for_a_person(lab: Lab) -> None:
    lab.people(4)
    there = lab.vendor.seed("people", name="Other", email="P0@example.org")
    lab.vendor.seed("people", name="A", email="p1@example.org")
    lab.vendor.seed("people", name="B", email="p1@example.org")
    run = lab.run(lab.sync())
    assert counts(run) == {"created": 2, "adopted": 1, "ambiguous": 1}
    assert run.state == "problems"
    assert lab.vendor.tables["people"][there].properties["name"] == "Name 0"
    assert lab.vendor.tables["people"][there].properties["own_key"]
    group = lab.groups(run)["several_remote"]
    assert group.count == 1
    assert "2 remote records match by email 'p1@example.org'" in group.message
    assert "Merge" in group.next_step


def test_records_that_share_their_match_value_here_are_listed_and_nothing_is_sent_for_them(lab: Lab) -> None:
    people = lab.people(3)
    User.objects.filter(pk__in=[people[0].pk, people[1].pk]).update(email="same@example.org")
    run = lab.run(lab.sync())
    assert counts(run) == {"created": 1, "ambiguous": 2}
    assert lab.vendor.sent() == {str(people[2].pk): 1}
    assert lab.groups(run)["shared_here"].samples == [str(people[0].pk), str(people[1].pk)]


def test_a_filter_excludes_and_a_value_that_does_not_fit_rejects_one_record_only(lab: Lab) -> None:
    people = lab.people(4)
    User.objects.filter(pk=people[1].pk).update(last_name="hidden")
    User.objects.filter(pk=people[2].pk).update(first_name="N" * 21)
    run = lab.run(lab.sync(filter="city != 'hidden'"))
    assert counts(run) == {"created": 2, "excluded": 1, "rejected": 1}
    assert run.read == 4
    assert lab.groups(run)["too_long"].property == "name"


def test_update_only_and_create_only(lab: Lab) -> None:
    people = lab.people(3)
    there = lab.vendor.seed("people", name="Other", email="p0@example.org")
    updating = lab.sync(mode="update")
    assert counts(lab.run(updating)) == {"adopted": 1, "excluded": 2}
    assert len(lab.vendor.live()) == 1

    Link.objects.all().delete()
    lab.vendor.tables["people"][there].properties = {"name": "Other", "email": "p0@example.org"}
    creating = lab.sync(mode="create")
    assert counts(lab.run(creating)) == {"created": 2, "excluded": 1}
    assert lab.vendor.tables["people"][there].properties["name"] == "Other"
    User.objects.filter(pk=people[1].pk).update(last_name="New")
    assert counts(lab.run(creating)) == {"unchanged": 2, "excluded": 1}
    assert lab.vendor.sent(Op.UPDATE) == {str(people[0].pk): 1}, "only the first sync updates"


def test_a_twin_that_appears_meanwhile_is_left_alone_by_a_sync_that_only_creates(lab: Lab) -> None:
    lab.vendor.unique_email = True
    (one,) = lab.people(1)

    def racing(vendor: Vendor, object_type: object, changes: object) -> None:
        vendor.seed("people", name="Theirs", email="p0@example.org")

    lab.vendor.faults = [racing]
    run = lab.run(lab.sync(mode="create"))
    assert counts(run) == {"excluded": 1}
    assert [h.properties["name"] for h in lab.vendor.live()] == ["Theirs"]
    assert lab.link(one).remote_id is None


def test_write_modes_if_empty_if_new_and_append(lab: Lab) -> None:
    lab.vendor.own_key = False
    people = lab.people(2)
    User.objects.filter(pk__in=[p.pk for p in people]).update(last_name="red,green")
    full = lab.vendor.seed("people", email="p0@example.org", name="Theirs", city="Theirs", tags=("blue",))
    empty = lab.vendor.seed("people", email="p1@example.org")
    rules = {
        "email": {},
        "name": {"write_mode": "if_empty"},
        "city": {"write_mode": "if_new"},
        "tags": {"write_mode": "append"},
    }
    sync = lab.sync(rules)
    assert counts(lab.run(sync)) == {"adopted": 2}
    table = lab.vendor.tables["people"]
    assert (table[full].properties["name"], table[full].properties["city"]) == ("Theirs", "Theirs")
    assert table[full].properties["tags"] == ("blue", "green", "red")
    assert (table[empty].properties["name"], table[empty].properties.get("city")) == ("Name 1", None)
    lab.vendor.pushes.clear()
    assert counts(lab.run(sync)) == {"unchanged": 2}
    User.objects.filter(pk=people[0].pk).update(first_name="Changed")
    assert counts(lab.run(sync)) == {"unchanged": 2}, "their value stays, so nothing is written"
    assert lab.vendor.pushes == []


# batches that fail


def test_a_batch_refused_as_a_whole_is_split_until_only_the_guilty_record_is_left(lab: Lab) -> None:
    people, lab.vendor.batch = lab.people(64), 64
    lab.vendor.poison = {"Name 37"}
    run = lab.run(lab.sync())
    assert counts(run) == {"created": 63, "rejected": 1}
    assert lab.link(people[37]).state == State.REJECTED
    assert len(lab.vendor.pushes) == 13, "1 + 2 × log2(64)"
    assert_in_step(lab)


def test_a_record_refused_by_name_is_taken_out_and_the_rest_sent_again(lab: Lab) -> None:
    people = lab.people(10)
    guilty = str(people[4].pk)
    lab.vendor.faults = [raising(RecordRejected("E-mail is no good.", guilty, "email", Code.INVALID_VALUE))]
    run = lab.run(lab.sync())
    assert counts(run) == {"created": 9, "rejected": 1}
    assert lab.groups(run)["invalid_value"].samples == [guilty]
    assert guilty not in lab.vendor.pushes[1].keys


def test_what_was_written_in_the_first_half_of_a_split_is_not_lost_when_the_second_half_fails(lab: Lab) -> None:
    lab.people(8)
    lab.vendor.poison = {"Name 7"}

    def nothing(vendor: Vendor, object_type: object, changes: object) -> None:
        return None

    lab.vendor.own_key = False
    lab.vendor.faults = [nothing, nothing, raising(Retryable("The line is dead.", 0.0))]  # whole, first half, second half
    run = lab.run(lab.sync())
    assert counts(run) == {"created": 7, "rejected": 1}
    assert max(lab.vendor.sent(Op.CREATE)[str(u.pk)] for u in User.objects.filter(first_name__in=["Name 0", "Name 3"])) == 2
    assert_in_step(lab)


@pytest.mark.parametrize("error", [Retryable("No connection.", 0.05), RateLimited("No room.", 0.05)])
def test_what_was_certainly_not_carried_out_is_sent_again_by_the_same_run(lab: Lab, error: Exception) -> None:
    lab.people(20)
    lab.vendor.own_key = False
    lab.vendor.faults = [raising(error), raising(error)]
    run = lab.run(lab.sync())
    assert (run.state, counts(run)) == ("succeeded", {"created": 20})
    assert_in_step(lab)


def test_a_vendor_that_stays_away_ends_the_run_after_some_attempts_and_the_next_run_goes_on(lab: Lab) -> None:
    people, sync = lab.people(5), lab.sync()
    lab.vendor.faults = [raising(Retryable("No connection to the fake.", 0.0))] * 100
    run = lab.run(sync)
    assert (run.state, run.reason) == ("failed", "No connection to the fake.")
    assert len(lab.vendor.pushes) == claims.MAX_ATTEMPTS
    lab.vendor.faults.clear()
    assert counts(lab.run(sync)) == {"created": 5}
    assert lab.link(people[0]).state == State.DELIVERED


def test_a_connector_that_breaks_its_contract_does_not_loop_for_ever(lab: Lab) -> None:
    lab.people(5)
    lab.vendor.faults = [raising(ConnectorFault("Nonsense."))] * 100
    assert lab.run(lab.sync()).state == "failed"
    assert len(lab.vendor.pushes) == claims.MAX_ATTEMPTS


def test_refused_credentials_fail_the_run_and_ask_for_reconnection(lab: Lab) -> None:
    lab.people(30)
    lab.vendor.faults = [raising(AuthError("The token was revoked. Reconnect the account."))] * 50
    run = lab.run(lab.sync())
    lab.connection.refresh_from_db()
    assert (run.state, run.reason) == ("failed", "The token was revoked. Reconnect the account.")
    assert lab.connection.state == "reconnect"
    assert set(lab.states()) == {"pending"}, "nothing is in doubt: it was certainly not carried out"


# answers that do not come


@pytest.mark.parametrize("fault", [lost_answer, lost_request])
def test_an_unknown_create_without_own_key_is_looked_up_after_the_lag_and_never_repeated_blindly(lab: Lab, fault: object) -> None:
    lab.vendor.own_key, lab.vendor.lag = False, 0.6
    (one,) = lab.people(1)
    lab.vendor.faults = [fault]  # type: ignore[list-item]
    sync = lab.sync()
    started = time.monotonic()
    run = lab.run(sync)
    assert time.monotonic() - started > 0.6
    assert run.state == "succeeded"
    assert counts(run) == ({"adopted": 1} if fault is lost_answer else {"created": 1})
    assert lab.vendor.sent(Op.CREATE)[str(one.pk)] == (1 if fault is lost_answer else 2)
    assert_in_step(lab)


def test_an_unknown_create_with_several_hits_goes_to_review(lab: Lab) -> None:
    lab.vendor.own_key, lab.vendor.lag = False, 0.2
    (one,) = lab.people(1)

    def lost_with_a_twin(vendor: Vendor, object_type: object, changes: object) -> None:
        vendor.seed("people", name="Twin", email="p0@example.org")
        lost_answer(vendor, object_type, changes)  # type: ignore[arg-type]

    lab.vendor.faults = [lost_with_a_twin]
    run = lab.run(lab.sync())
    assert counts(run) == {"ambiguous": 1}, "counted although its first attempt had no answer"
    assert lab.link(one).code == "several_remote"
    assert lab.vendor.sent() == {str(one.pk): 1}


def test_an_unknown_create_that_nothing_can_look_up_goes_to_review(lab: Lab) -> None:
    lab.vendor.own_key = False
    (one,) = lab.people(1)
    lab.vendor.faults = [lost_answer]
    run = lab.run(lab.sync(match=()))
    assert counts(run) == {"ambiguous": 1}
    assert lab.link(one).code == "unknown"
    assert len(lab.vendor.live()) == 1


def stay_in_doubt(lab: Lab, sync: Sync, one: User) -> None:
    """Neither time nor a changed row nor a retry creates it a second time; a person may."""
    changes: tuple[dict[str, str], ...] = ({}, {"last_name": "Changed"}, {"email": "other@example.org"})
    for change in changes:
        User.objects.filter(pk=one.pk).update(**{"first_name": one.first_name, **change})
        Link.objects.update(checked_at=timezone.now() - timedelta(days=2))
        assert counts(lab.run(sync, kind=Run.Kind.RETRY)) == {"ambiguous": 1}
        assert lab.link(one).code == "unknown"
        assert len(lab.vendor.live()) == 1
    look_again([lab.link(one)], "Ann")
    assert counts(lab.run(sync)) == {"created": 1}


def test_a_creation_that_nothing_can_look_up_stays_in_doubt_until_a_person_decides(lab: Lab) -> None:
    lab.vendor.own_key = False
    (one,), sync = lab.people(1), lab.sync(match=())
    lab.vendor.faults = [lost_answer]
    lab.run(sync)
    stay_in_doubt(lab, sync, one)


def test_a_creation_without_match_values_stays_in_doubt_until_a_person_decides(lab: Lab) -> None:
    lab.vendor.own_key, lab.vendor.lag = False, 0.1
    (one,), sync = lab.people(1), lab.sync()
    User.objects.update(email="")
    lab.vendor.faults = [lost_answer]
    assert counts(lab.run(sync)) == {"ambiguous": 1}
    stay_in_doubt(lab, sync, one)


def test_a_creation_sent_with_other_match_values_than_todays_is_not_repeated(lab: Lab) -> None:
    lab.vendor.own_key, lab.vendor.lag = False, 0.1
    (one,), sync = lab.people(1), lab.sync()

    def lost_and_changed(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> None:
        User.objects.update(email="new@example.org")
        lost_answer(vendor, object_type, changes)

    lab.vendor.faults = [lost_and_changed]
    assert counts(lab.run(sync)) == {"ambiguous": 1}
    assert lab.link(one).code == "unknown"
    assert len(lab.vendor.live()) == 1


def test_an_unknown_update_is_sent_again_by_id(lab: Lab) -> None:
    (one,), sync = lab.people(1), lab.sync()
    lab.run(sync)
    lab.vendor.pushes.clear()
    User.objects.update(last_name=F("first_name"))
    lab.vendor.faults = [lost_answer, lost_request, lost_request, lost_request]
    run = lab.run(sync)
    assert counts(run) == {"updated": 1}
    assert {change.remote_id for call in lab.vendor.pushes for change in call.changes} == {lab.link(one).remote_id}
    assert lab.vendor.live()[0].properties["city"] == "Name 0"
    assert_in_step(lab)


def test_an_unknown_upsert_is_repeated_by_our_own_key_and_counted_as_created(lab: Lab) -> None:
    lab.people(10)
    lab.vendor.faults = [lost_answer]
    run = lab.run(lab.sync())
    assert (run.state, counts(run)) == ("succeeded", {"created": 10})
    assert_in_step(lab)


def test_a_batch_nobody_answers_for_gets_smaller_until_the_guilty_record_stands_alone(lab: Lab) -> None:
    people, lab.vendor.batch = lab.people(20), 16

    def guilty(vendor: Vendor, object_type: object, changes: object) -> None:
        if len(changes) > 1 and any(c.local_key == str(people[5].pk) for c in changes):  # type: ignore
            raise OutcomeUnknown("409 for the whole batch.")

    lab.vendor.faults = [guilty] * 200
    run = lab.run(lab.sync())
    assert (run.state, counts(run)) == ("succeeded", {"created": 20})
    assert run.read == 20
    assert_in_step(lab)


def test_doubt_never_becomes_certainty_by_a_value_that_does_not_fit_in_between(lab: Lab) -> None:
    (one,), sync = lab.people(1), lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Somewhere")
    lab.vendor.faults = [lost_answer, *[lost_request] * 100]
    assert lab.run(sync).state == "problems"
    lab.vendor.faults.clear()
    User.objects.update(first_name="N" * 30)
    lab.run(sync)
    User.objects.update(first_name="Name 0", last_name="City 0")
    lab.run(sync)
    assert lab.vendor.live()[0].properties["city"] == "City 0", "the value first delivered, overwritten by the lost call"
    assert lab.link(one).state == State.DELIVERED


# answers that are odd


def shuffled(told: list[PushResult]) -> list[PushResult]:
    return random.Random(1).sample(told, len(told))


def test_results_in_any_order_find_their_records(lab: Lab) -> None:
    people = lab.people(10)
    lab.vendor.faults = [answering(shuffled)]
    lab.run(lab.sync())
    table = lab.vendor.tables["people"]
    assert all(table[lab.link(p).remote_id or ""].properties["name"] == p.first_name for p in people)


@pytest.mark.parametrize("change", [lambda told: told[3:], lambda told: told[:3], lambda told: [*told[:5], *told[:5]]])
def test_records_without_a_result_are_unknown_and_resolved(lab: Lab, change: object) -> None:
    lab.people(10)
    lab.vendor.faults = [answering(change)]  # type: ignore[arg-type]
    run = lab.run(lab.sync())
    assert (run.state, counts(run)) == ("succeeded", {"created": 10})
    assert_in_step(lab)


def test_an_id_given_to_two_records_is_linked_to_one(lab: Lab) -> None:
    lab.people(2)
    lab.vendor.faults = [answering(lambda told: [replace(r, remote_id=told[0].remote_id) for r in told])]
    run = lab.run(lab.sync())
    assert counts(run) == {"created": 1, "ambiguous": 1}
    assert lab.groups(run)["linked_to_other"].count == 1


def test_a_conflict_with_a_record_that_appeared_meanwhile_adopts_it(lab: Lab) -> None:
    lab.vendor.unique_email = True
    people = lab.people(3)

    def racing(vendor: Vendor, object_type: object, changes: object) -> None:
        vendor.seed("people", name="Theirs", email="p1@example.org")

    lab.vendor.faults = [racing]
    run = lab.run(lab.sync())
    assert (run.state, counts(run)) == ("succeeded", {"created": 2, "adopted": 1})
    assert lab.entries(people[1]) == [("upsert", "rejected"), ("update", "updated")]
    assert_in_step(lab)


def test_a_conflict_with_a_record_of_ours_goes_to_review(lab: Lab) -> None:
    lab.vendor.unique_email = True
    people, sync = lab.people(2), lab.sync({"name": {}, "email": {}}, match=())
    User.objects.update(email="same@example.org")
    run = lab.run(sync)
    assert counts(run) == {"created": 1, "ambiguous": 1}
    group = lab.groups(run)["linked_to_other"]
    assert f"linked to our record test.person {people[0].pk}" in group.message


# records that are not there any more


def gone_sync(lab: Lab, policy: str) -> tuple[Sync, User]:
    people, sync = lab.people(3), lab.sync(gone_policy=policy)
    lab.run(sync)
    lab.vendor.delete("people", lab.link(people[0]).remote_id or "")
    User.objects.update(last_name="Elsewhere")
    return sync, people[0]


@pytest.mark.parametrize(("policy", "state", "counter"), [("leave", "gone", "gone"), ("review", "ambiguous", "ambiguous")])
def test_a_deleted_record_is_left_or_put_on_the_review_list(lab: Lab, policy: str, state: str, counter: str) -> None:
    sync, one = gone_sync(lab, policy)
    run = lab.run(sync)
    assert counts(run) == {"updated": 2, counter: 1}
    assert (run.state, lab.link(one).state) == ("problems", state)
    lab.vendor.pushes.clear()
    again = lab.run(sync)
    assert (again.state, counts(again), lab.vendor.pushes) == ("problems", {"unchanged": 2, counter: 1}, [])


@pytest.mark.parametrize("own_key", [True, False])
def test_a_deleted_record_is_created_again(lab: Lab, own_key: bool) -> None:
    lab.vendor.own_key = own_key
    sync, one = gone_sync(lab, "recreate")
    before = lab.link(one).remote_id
    run = lab.run(sync)
    assert (run.state, counts(run)) == ("succeeded", {"updated": 2, "created": 1})
    assert lab.link(one).remote_id not in (None, before)
    assert_in_step(lab)


def test_a_match_that_is_deleted_before_it_is_written_is_not_mistaken_for_ours(lab: Lab) -> None:
    people, sync = lab.people(1), lab.sync()
    there = lab.vendor.seed("people", name="x", email="p0@example.org")

    def deleted(vendor: Vendor, object_type: object, changes: object) -> None:
        vendor.delete("people", there)

    lab.vendor.faults = [deleted]
    run = lab.run(sync)
    assert (run.state, counts(run)) == ("succeeded", {"created": 1})
    assert lab.link(people[0]).remote_id not in (None, there)
    assert_in_step(lab)


def test_a_link_made_by_hand_to_nothing_goes_back_to_review(lab: Lab) -> None:
    people, sync = lab.people(1), lab.sync()
    lab.vendor.seed("people", name="x", email="p0@example.org")
    lab.vendor.seed("people", name="y", email="p0@example.org")
    assert counts(lab.run(sync)) == {"ambiguous": 1}
    link_by_hand(lab.link(people[0]), "nowhere", "Ann")
    assert counts(lab.run(sync)) == {"ambiguous": 1}
    assert "no remote record nowhere" in lab.link(people[0]).reason
    there = lab.vendor.live()[0]
    unlink(lab.link(people[0]), "Ann")
    link_by_hand(lab.link(people[0]), there.id, "Ann")
    assert counts(lab.run(sync)) == {"adopted": 1}
    assert lab.link(people[0]).remote_id == there.id


def test_a_recreation_without_an_answer_is_looked_up_as_well(lab: Lab) -> None:
    lab.vendor.own_key, lab.vendor.lag = False, 0.3
    sync, one = gone_sync(lab, "recreate")

    def nothing(vendor: Vendor, object_type: object, changes: object) -> None:
        return None

    lab.vendor.faults = [nothing, lost_answer]
    run = lab.run(sync)
    assert run.state == "succeeded"
    assert lab.vendor.pushes[-1].op is Op.UPDATE, "the one found was taken"
    assert_in_step(lab)
    assert lab.link(one).state == State.DELIVERED


def test_a_sync_that_only_updates_never_recreates(lab: Lab) -> None:
    people = lab.people(1)
    there = lab.vendor.seed("people", name="x", email="p0@example.org")
    sync = lab.sync(mode="update", gone_policy="recreate")
    lab.run(sync)
    lab.vendor.delete("people", there)
    User.objects.update(last_name="Elsewhere")
    assert counts(lab.run(sync)) == {"gone": 1}
    assert lab.vendor.live() == []
    assert lab.link(people[0]).state == State.GONE


def test_a_merged_record_is_followed(lab: Lab) -> None:
    people, sync = lab.people(2), lab.sync()
    lab.run(sync)
    stray = lab.vendor.seed("people", name="Stray")
    survivor = lab.vendor.merge("people", lab.link(people[0]).remote_id or "", stray)
    User.objects.filter(pk=people[0].pk).update(last_name="Elsewhere")
    run = lab.run(sync)
    assert (run.state, counts(run)) == ("succeeded", {"updated": 1, "unchanged": 1})
    assert lab.link(people[0]).remote_id == survivor
    assert lab.vendor.tables["people"][survivor].properties["city"] == "Elsewhere"


@pytest.mark.parametrize("batch", [10, 1])
def test_two_records_merged_into_one_there_are_told_apart(lab: Lab, batch: int) -> None:
    """In one batch, and in parallel batches."""
    lab.vendor.batch = batch
    people, sync = lab.people(2), lab.sync()
    lab.run(sync)
    lab.vendor.merge("people", *(lab.link(p).remote_id or "" for p in people))
    User.objects.update(last_name="Elsewhere")
    run = lab.run(sync)
    found = counts(run)
    assert found.pop("updated") == 1
    assert sum(found.values()) == 1, found
    assert {lab.link(p).state for p in people} in ({"delivered", "merged"}, {"delivered", "ambiguous"})
    assert run.state == "problems"
    assert len(lab.groups(run)) == 1


# two of ours, one of theirs


@pytest.mark.parametrize("batch", [10, 1])
def test_two_records_that_match_one_by_different_steps_are_never_both_linked_to_it(lab: Lab, batch: int) -> None:
    lab.vendor.batch = batch
    people = lab.people(2)
    lab.vendor.seed("people", name="Name 1", email="p0@example.org")
    User.objects.filter(pk=people[1].pk).update(email="")
    steps = ({"property": "email", "normalise": "email"}, {"property": "name"})
    run = lab.run(lab.sync({"name": {}, "email": {}}, match=steps))
    assert counts(run) == {"adopted": 1, "ambiguous": 1}
    assert len(lab.vendor.live()) == 1
    assert len(Link.objects.exclude(remote_id=None)) == 1


# references


def test_a_reference_waits_for_its_target_and_is_dropped_when_it_ends(lab: Lab) -> None:
    people, teams = lab.people(3), [Group.objects.create(name=f"T{n}") for n in range(2)]
    for person in people[:2]:
        person.groups.set(teams)
    sync = lab.sync({"name": {}, "email": {}, "teams": {"association": True}})
    run = lab.run(sync)
    assert (run.state, counts(run), run.waiting) == ("problems", {"created": 3}, 2)
    assert run.reason == "2 waiting for another record."

    lab.run(lab.teams())
    lab.vendor.pushes.clear()
    again = lab.run(sync)
    assert (again.state, counts(again), again.waiting) == ("succeeded", {"updated": 2, "unchanged": 1}, 0)
    assert {call.op for call in lab.vendor.pushes} == {Op.ASSOCIATE}
    targets = {lab.link(t).remote_id for t in teams}
    assert [h.associated for h in lab.vendor.live()] == [targets, targets, set()]

    people[0].groups.remove(teams[0])
    lab.vendor.pushes.clear()
    assert counts(lab.run(sync)) == {"updated": 1, "unchanged": 2}
    assert lab.vendor.live()[0].associated == {lab.link(teams[1]).remote_id}
    assert len(lab.vendor.pushes) == 1
    assert counts(lab.run(sync)) == {"unchanged": 3}


def test_new_records_are_created_and_associated_in_one_run_and_counted_once(lab: Lab) -> None:
    people, team = lab.people(30), Group.objects.create(name="T")
    lab.run(lab.teams())
    for person in people:
        person.groups.add(team)
    run = lab.run(lab.sync({"name": {}, "email": {}, "teams": {"association": True}}))
    assert (run.state, counts(run)) == ("succeeded", {"created": 30})
    assert all(len(h.associated) == 1 for h in lab.vendor.live())


def test_an_association_that_is_refused_is_told_and_the_record_counted_once(lab: Lab) -> None:
    people, team = lab.people(1), Group.objects.create(name="T")
    lab.run(lab.teams())
    people[0].groups.add(team)

    def nothing(vendor: Vendor, object_type: object, changes: object) -> None:
        return None

    refusal = RecordError(Code.OTHER, "The team takes no more people.")
    lab.vendor.faults = [nothing, answering(lambda told: [replace(r, status=Status.REJECTED, error=refusal) for r in told])]
    sync = lab.sync({"name": {}, "email": {}, "teams": {"association": True}})
    run = lab.run(sync)
    assert counts(run) == {"created": 1}
    assert (run.state, run.reason) == ("problems", "1 rejected.")
    assert lab.groups(run)["other"].message == "The team takes no more people."
    assert counts(lab.run(sync)) == {"rejected": 1}


# mappings that change


def test_a_new_mapping_sends_only_what_it_changes_and_a_removed_rule_sends_nothing(lab: Lab) -> None:
    lab.people(5)
    sync = lab.sync()
    lab.run(sync)
    lab.vendor.pushes.clear()
    lab.rules(sync, {"name": {}, "email": {}, "city": {"expression": "city + '!'"}})
    assert counts(lab.run(sync)) == {"updated": 5}
    assert {tuple(c.properties) for call in lab.vendor.pushes for c in call.changes} == {("city",)}

    lab.vendor.pushes.clear()
    lab.rules(sync, {"name": {}, "email": {}})
    assert counts(lab.run(sync)) == {"unchanged": 5}
    assert lab.vendor.pushes == []
    assert {tuple(sorted(link.delivered)) for link in Link.objects.all()} == {("email", "name")}
    lab.rules(sync, {"name": {}, "email": {}, "city": {"expression": "city + '!'"}})
    assert counts(lab.run(sync)) == {"updated": 5}, "what was forgotten is sent again"


def test_a_refused_record_is_sent_again_only_when_something_changed_a_day_passed_or_a_person_asks(lab: Lab) -> None:
    people, sync = lab.people(3), lab.sync()
    lab.vendor.poison = {"Name 1"}
    assert counts(lab.run(sync)) == {"created": 2, "rejected": 1}
    guilty = str(people[1].pk)

    def sent_again(**run: str) -> bool:
        lab.vendor.pushes.clear()
        assert counts(lab.run(sync, **run)) == {"unchanged": 2, "rejected": 1}  # type: ignore[arg-type]
        return guilty in lab.vendor.sent()

    assert not sent_again()
    assert sent_again(kind=Run.Kind.RETRY)
    assert not sent_again()
    Link.objects.filter(local_key=guilty).update(checked_at=timezone.now() - timezone.timedelta(hours=25))  # type: ignore[attr-defined]
    assert sent_again()
    assert not sent_again()
    User.objects.filter(pk=people[1].pk).update(last_name="Elsewhere")
    assert sent_again()
    lab.rules(sync, {"name": {}, "email": {}})
    assert sent_again()
    lab.vendor.poison.clear()
    assert counts(lab.run(sync, kind=Run.Kind.RETRY)) == {"unchanged": 2, "created": 1}


# what changes while a run is on its way


def test_a_record_that_is_new_since_the_account_was_looked_up_is_not_created_blindly(lab: Lab) -> None:
    lab.people(1)
    lab.vendor.seed("people", name="Theirs", email="p7@example.org")
    sync = lab.sync()
    run = start_run(sync)
    prepare = claims.claim("me", run.pk)
    assert prepare is not None
    execute.execute(prepare)
    lab.people(1, start=7)  # after the look-up, before the push
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(5, run.pk)
    run.refresh_from_db()
    assert (run.state, counts(run)) == ("succeeded", {"created": 1, "adopted": 1})
    assert len(lab.vendor.live()) == 2


def test_a_link_that_changes_between_reading_and_sending_is_read_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    people, sync = lab.people(3), lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Elsewhere")
    original = pipeline.Pipeline._settle

    def meanwhile(self: pipeline.Pipeline, outcomes: object) -> None:
        Link.objects.filter(local_key=str(people[1].pk), revision__lt=50).update(revision=50)
        original(self, outcomes)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline.Pipeline, "_settle", meanwhile)
    run = lab.run(sync)
    assert (run.state, counts(run), run.read) == ("succeeded", {"updated": 3}, 3)
    assert set(lab.vendor.sent(Op.UPDATE).values()) == {1}


def test_what_is_put_off_survives_the_end_of_its_worker(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cursor moves past an open record only together with the part that will look at it again."""
    lab.vendor.own_key = False
    lab.people(30)
    lab.vendor.faults = [lost_answer]
    sync = lab.sync()
    run = start_run(sync)
    monkeypatch.setattr(claims, "finish", _dying(claims.finish))
    with pytest.raises(SystemExit):
        execute.work(5, run.pk)
    RunPart.objects.filter(state="leased").update(lease_until=timezone.now() - timezone.timedelta(minutes=1))  # type: ignore[attr-defined]
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(5, run.pk)
    run.refresh_from_db()
    assert (run.state, sum(counts(run).values()), run.read) == ("succeeded", 30, 30)
    assert_in_step(lab)


def _dying(finish: object) -> object:
    seen: list[int] = []

    def dying(*given: object) -> object:
        seen.append(1)
        if len(seen) == 2:  # 1: the look-up
            raise SystemExit
        return finish(*given)  # type: ignore[operator]

    return dying


# memory


def test_memory_does_not_grow_with_the_number_of_records(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.vendor.batch = 50
    monkeypatch.setattr(reader, "CHUNK", 200)
    sync = lab.sync({"name": {"expression": "'same'"}}, match=())
    lab.vendor.faults = []

    def peak(number: int) -> int:
        Link.objects.all().delete()
        User.objects.filter(is_staff=False).delete()
        lab.people(number)
        tracemalloc.start()
        run = lab.run(sync, seconds=120)
        _, high = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert run.created == number
        return high

    def forgetful(object_type: object, changes: list[object]) -> list[PushResult]:
        return [PushResult(c.local_key, Status.CREATED, f"x{c.local_key}") for c in changes]  # type: ignore[attr-defined]

    lab.vendor.push = forgetful  # type: ignore[method-assign,assignment]
    peak(200)  # what is loaded once
    small, large = peak(800), peak(3200)
    assert large < 1.5 * small, f"{small / 1e6:.1f} MB for 800 records, {large / 1e6:.1f} MB for 3,200"
