"""Others change what a push relies on while it is under way: another sync's look-up, and a worker that lost its claim."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from syncline.contract import Change, Code, ConfigError, ObjectType, PushResult, RecordError, Status
from syncline.ledger import writer
from syncline.ledger.models import Link
from syncline.ledger.records import Scope
from syncline.ledger.resolve import link_by_hand
from syncline.outbox.models import OutboxKey
from syncline.runs import claims, close, execute, job
from syncline.runs.models import Run, RunPart
from syncline.runs.push.work import Deferred
from syncline.runs.start import push_keys, start_run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def to_the_end(run: Run) -> Run:
    end = time.monotonic() + 20
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        assert time.monotonic() < end, "The run does not come to its end."
        execute.work(5, run.pk)
    run.refresh_from_db()
    return run


def test_a_look_up_by_other_properties_takes_nothing_from_a_run_under_way(lab: Lab) -> None:
    lab.people(5)
    for number in range(5):
        lab.vendor.seed("people", name=f"Known {number}", email=f"p{number}@example.org")
    by_email = lab.sync()
    by_city = lab.sync({"name": {}, "city": {}}, match=({"property": "city"},), segment="active")
    run = start_run(by_email)
    claim = claims.claim("me", run.pk)
    assert claim
    execute.execute(claim)  # the look-up
    User.objects.filter(is_staff=False).update(is_active=False)
    User.objects.create(username="late", first_name="Late", last_name="Late", is_active=True)
    assert lab.run(by_city).created == 1
    assert to_the_end(run).adopted == 5
    assert len(lab.vendor.live()) == 6


def test_a_semicolon_in_a_name_is_a_character(lab: Lab) -> None:
    whole = lab.vendor.seed("people", name="Smith; Sons")
    lab.vendor.seed("people", name="Alpha; Beta")
    for number, name in enumerate(("Smith; Sons", "Alpha")):
        User.objects.create(username=f"u{number}", first_name=name)
    run = lab.run(lab.sync({"name": {}}, match=({"property": "name"},)))
    assert counts(run) == {"adopted": 1, "created": 1}
    assert Link.objects.get(remote_id=whole).local_key == str(User.objects.get(username="u0").pk)
    assert sorted(str(h.properties["name"]) for h in lab.vendor.live()) == ["Alpha", "Alpha; Beta", "Smith; Sons"]


def test_a_value_sent_late_by_a_worker_that_lost_its_claim_is_corrected(lab: Lab) -> None:
    """The successor delivers a newer value while the first worker's call is still on its way."""
    sync = lab.sync()
    (person,) = lab.people(1)
    lab.run(sync)
    User.objects.filter(pk=person.pk).update(last_name="Old")
    run = start_run(sync)

    def overtaken(vendor: Vendor, object_type: ObjectType, changes: Sequence[object]) -> None:
        User.objects.filter(pk=person.pk).update(last_name="New")
        RunPart.objects.filter(state="leased").update(lease_until=timezone.now() - timezone.timedelta(minutes=1))  # type: ignore[attr-defined]
        vendor.lock.release()  # the successor calls while this call has not arrived
        try:
            assert to_the_end(run).state == "succeeded"
        finally:
            vendor.lock.acquire()
        assert lab.vendor.by_name()["Name 0"].properties["city"] == "New"

    lab.vendor.faults = [overtaken]
    execute.work(5, run.pk)
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "Old"
    assert lab.link(person).state == Link.State.UNCERTAIN
    lab.run(sync)
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "New"
    assert lab.link(person).state == Link.State.DELIVERED


def test_a_deleted_record_is_not_created_again_beside_the_one_that_took_its_place(lab: Lab) -> None:
    sync = lab.sync(gone_policy="recreate")
    (person,) = lab.people(1)
    lab.run(sync)
    lab.vendor.delete("people", lab.link(person).remote_id or "")
    there = lab.vendor.seed("people", name="By hand", email="p0@example.org")
    User.objects.filter(pk=person.pk).update(last_name="Elsewhere")
    assert counts(lab.run(sync)) == {"adopted": 1}
    assert (lab.link(person).remote_id, len(lab.vendor.live())) == (there, 1)


def test_a_record_given_up_and_brought_back_by_hand_is_found_once_it_may_be_created_again(lab: Lab) -> None:
    lab.vendor.own_key = False
    sync = lab.sync()
    (person,) = lab.people(1)
    lab.run(sync)
    lab.vendor.delete("people", lab.link(person).remote_id or "")
    User.objects.filter(pk=person.pk).update(last_name="Elsewhere")
    assert counts(lab.run(sync)) == {"gone": 1}
    there = lab.vendor.seed("people", name="Back", email="p0@example.org")
    Sync.objects.update(gone_policy="recreate")
    sync.refresh_from_db()
    assert counts(lab.run(sync, kind=Run.Kind.RETRY)) == {"adopted": 1}
    assert (lab.link(person).remote_id, len(lab.vendor.live())) == (there, 1)


def test_a_record_takes_over_what_a_vanished_record_of_ours_was_linked_to(lab: Lab) -> None:
    """A person's first job is deleted: the second one carries the same address under another key."""
    sync = lab.sync()
    (first,) = lab.people(1)
    lab.run(sync)
    there, before = lab.link(first).remote_id, str(first.pk)
    User.objects.filter(pk=first.pk).delete()
    second = User.objects.create(username="second", first_name="Name 0", last_name="Next", email="p0@example.org")
    assert counts(lab.run(sync)) == {"adopted": 1}
    assert (lab.link(second).remote_id, len(lab.vendor.live())) == (there, 1)
    ended = Link.objects.get(local_key=before)
    assert (ended.state, ended.remote_id) == ("excluded", None)
    assert f"{there} went over" in ended.reason
    assert counts(lab.run(sync)) == {"unchanged": 1}


def test_a_record_that_only_left_the_segment_keeps_what_it_is_linked_to(lab: Lab) -> None:
    sync = lab.sync(segment="active")
    (first,) = lab.people(1)
    lab.run(sync)
    User.objects.filter(pk=first.pk).update(is_active=False)
    User.objects.create(username="second", first_name="Twin", email="p0@example.org")
    assert counts(lab.run(sync)) == {"ambiguous": 1}
    assert lab.link(first).remote_id is not None


def test_doubt_about_a_record_that_was_deleted_here_does_not_spoil_every_later_run(lab: Lab) -> None:
    sync = lab.sync()
    first, _second = lab.people(2)
    lab.run(sync)
    Link.objects.filter(local_key=str(first.pk)).update(state=Link.State.UNCERTAIN, uncertain_op="update")
    User.objects.filter(pk=first.pk).delete()
    assert lab.run(sync).state == "succeeded"


def test_records_that_are_put_off_to_the_end_are_named_and_the_run_is_no_success(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "MAX_ROUNDS", 0)
    sync = lab.sync()
    lab.people(1)
    run = start_run(sync)
    claim = claims.claim("me", run.pk)
    assert claim
    execute.execute(claim)
    late = lab.people(1, start=9)  # new since the account was looked up
    run = to_the_end(run)
    assert (run.state, run.reason) == ("problems", "1 put off until the next run.")
    assert lab.groups(run)["put_off"].samples == [str(late[0].pk)]


def test_what_a_run_of_changes_put_off_to_the_end_waits_for_the_next_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "MAX_ROUNDS", 0)
    sync, key = lab.sync(), str(lab.people(1)[0].pk)
    type(sync).objects.filter(pk=sync.pk).update(changes_cron="*/5 * * * *")
    run = push_keys(sync, [key], kind=Run.Kind.CHANGES, priority=RunPart.Priority.CHANGE)
    claim = claims.claim("me", run.pk)
    assert claim
    with claims.Lease(claim.fence) as lease:
        job.Job(claim, lease, float("inf")).put_off([Deferred(key, 0.0)])
    assert list(OutboxKey.objects.values_list("sync", "local_key")) == [(sync.pk, key)]


def test_nobody_decides_about_a_record_while_it_is_being_sent(lab: Lab) -> None:
    lab.people(1)
    sync, said = lab.sync(), []

    def meddling(_vendor: Vendor, _object: object, _changes: object) -> None:
        with pytest.raises(ConfigError) as caught:
            link_by_hand(Link.objects.get(), "77", "Ann")
        said.append(str(caught.value))

    lab.vendor.faults = [meddling]
    run = lab.run(sync)
    assert (run.state, counts(run)) == ("succeeded", {"created": 1})
    assert said == ["This record is being sent at this moment. Load the page again when its answer is there."]


@pytest.mark.parametrize("few", [0, 2000])
def test_troubles_of_records_that_left_are_not_told_however_they_are_looked_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(close, "FEW", few)
    people, sync = lab.people(4), lab.sync()
    User.objects.filter(pk__in=[p.pk for p in people[:2]]).update(first_name="x" * 30)
    assert counts(lab.run(sync)) == {"created": 2, "rejected": 2}
    people[0].delete()
    run = lab.run(sync)
    assert (run.state, run.reason) == ("problems", "1 rejected.")


def test_a_key_that_does_not_fit_is_named_at_once(lab: Lab) -> None:
    User.objects.create(username="k" * 120, first_name="Name", email="k@example.org")
    run = lab.run(lab.sync(dataset="test.named"))
    assert run.state == "failed"
    assert run.reason.startswith("test.named has a record whose key is 120 characters long, 100 fit: kkkk")
    assert max(run.parts.values_list("attempt", flat=True)) == 1


def test_a_page_for_a_message_is_cut(lab: Lab) -> None:
    lab.people(1)
    lab.vendor.faults = [
        lambda _vendor, _object, changes: [
            PushResult(c.local_key, Status.REJECTED, error=RecordError(Code.OTHER, "x" * 100_000)) for c in changes
        ]
    ]
    run = lab.run(lab.sync())
    assert len(lab.groups(run)["other"].message) == 2000
    assert len(Link.objects.get().reason) == 2000


def test_a_record_on_its_way_is_not_sent_by_another_worker_before_its_answer(lab: Lab) -> None:
    """A person changes and pushes it while the backfill's call with the old values hangs: the new values are the last ones."""
    (someone, *_), sync = lab.people(3), lab.sync()
    run = start_run(sync)
    execute.execute(_claimed(run))
    push, asked, order = lab.vendor.push, threading.Event(), []

    def hanging(object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        order.append([c.properties.get("city") for c in changes if c.local_key == str(someone.pk)])
        if not asked.is_set():
            asked.set()
            time.sleep(1.0)
        return push(object_type, changes)

    def ask() -> None:
        asked.wait(10)
        User.objects.filter(pk=someone.pk).update(last_name="New")
        push_keys(sync, [str(someone.pk)])
        connection.close()

    lab.vendor.push = hanging  # type: ignore[method-assign]
    asker = threading.Thread(target=ask)
    asker.start()
    run = to_the_end(run)
    asker.join()
    assert run.state == "succeeded"
    assert [cities for cities in order if cities] == [["City 0"], ["New"]]
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "New"


def _claimed(run: Run) -> claims.Claim:
    claim = claims.claim("me", run.pk)
    assert claim
    return claim


def test_who_finds_that_another_wrote_during_its_call_has_the_record_sent_again(lab: Lab) -> None:
    lab.people(1)
    sync = lab.sync()
    everybody = User.objects.filter(is_staff=False)
    everybody.update(last_name="Second")
    lab.run(sync)
    as_of_second = Link.objects.values("source_hash", "delivered").get()
    everybody.update(last_name="Third")
    lab.run(sync)
    everybody.update(last_name="Second")
    lab.vendor.pushes.clear()

    def overtaken(_vendor: Vendor, _object: object, _changes: object) -> None:
        """Another worker delivered the same values and says so."""
        Link.objects.update(revision=F("revision") + 1, state=Link.State.DELIVERED, uncertain_op="", **as_of_second)

    lab.vendor.faults = [overtaken]
    run = lab.run(sync)
    assert run.state == "succeeded"
    assert [c.op for c in lab.vendor.pushes] == ["update", "update"]


def test_dating_doubts_waits_for_nobody(lab: Lab) -> None:
    people, sync = lab.people(2), lab.sync()
    lab.run(sync)
    Link.objects.update(state=Link.State.UNCERTAIN, uncertain_op="update", uncertain_at=None)
    held, dated = threading.Event(), threading.Event()

    def holding() -> None:
        with transaction.atomic():
            Link.objects.select_for_update().get(local_key=str(people[0].pk))
            held.set()
            dated.wait(10)
        connection.close()

    other = threading.Thread(target=holding)
    other.start()
    held.wait(10)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '2s'")
    writer.date_doubts(Scope(lab.connection.pk, "people", "test.person"), 0.0)
    dated.set()
    other.join()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 0")
    assert list(Link.objects.filter(uncertain_at=None).values_list("local_key", flat=True)) == [str(people[0].pk)]
