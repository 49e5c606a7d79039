"""A first load by the vendor's bulk jobs, over a vendor in memory: what goes by a job, what does not, and what becomes of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.db import connections
from syncline.contract import (
    BulkResult,
    Change,
    Code,
    ConfigError,
    Op,
    OutcomeUnknown,
    Permanent,
    RecordError,
    Retryable,
    Status,
)
from syncline.ledger.models import Entry, Link
from syncline.ledger.records import Mark
from syncline.runs import claims, execute, start
from syncline.runs.models import Run, RunPart
from syncline.runs.push import bulk, results, sender
from syncline.runs.push.spool import Spool, Spooled
from syncline.syncs.models import FieldRule, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.bulk import BulkFake, BulkVendor  # noqa: E402
from pushing.lab import Lab, counts, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def vendor() -> BulkVendor:
    return BulkVendor()


@pytest.fixture
def lab(vendor: BulkVendor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    monkeypatch.setattr(bulk, "LOOK_AFTER", 0.02)
    with installed(vendor, BulkFake):
        yield Lab(vendor)


def loading(lab: Lab, **options: object) -> Sync:
    return lab.sync(**{"bulk_from": 10, **options})  # type: ignore[arg-type]


def quiet(lab: Lab, vendor: BulkVendor, sync: Sync) -> bool:
    """The next run sends nothing and finds everything as it should be."""
    before = (len(vendor.pushes), len(vendor.jobs.asked))
    run = lab.run(sync)
    assert run.state == Run.State.SUCCEEDED, run.reason
    return counts(run) == {"unchanged": run.read} and (len(vendor.pushes), len(vendor.jobs.asked)) == before


def test_new_records_go_by_one_job_and_are_linked_like_any_others(lab: Lab, vendor: BulkVendor) -> None:
    people, sync = lab.people(20), loading(lab)
    vendor.jobs.looks = 2
    run = lab.run(sync)
    assert (run.state, counts(run), run.read) == ("succeeded", {"created": 20}, 20)
    assert (len(vendor.jobs.taken), vendor.pushes) == (1, [])
    there = {h.id: h for h in vendor.live()}
    for person in people:
        link = lab.link(person)
        assert link.state == "delivered"
        assert there[str(link.remote_id)].properties["name"] == person.first_name
        assert lab.entries(person) == [("upsert", "created")]
    [entry] = Entry.objects.filter(link_id=lab.link(people[3]).pk)
    assert entry.sent == {"name": "Name 3", "email": "p3@example.org", "city": "City 3"}
    assert quiet(lab, vendor, sync)


def test_only_what_would_be_created_goes_by_the_job(lab: Lab, vendor: BulkVendor) -> None:
    lab.people(20)
    vendor.seed("people", name="Known", email="p1@example.org")
    for _ in range(2):
        vendor.seed("people", name="Twin", email="p2@example.org")
    User.objects.filter(email__in=["p3@example.org", "p4@example.org"]).update(email="same@example.org")
    User.objects.filter(email="p5@example.org").update(first_name="A name that is much too long")
    run = lab.run(loading(lab, filter="city != 'City 6'"))
    assert counts(run) == {"created": 14, "adopted": 1, "ambiguous": 3, "rejected": 1, "excluded": 1}
    assert len(vendor.jobs.taken[0].keys) == 14
    assert vendor.sent(Op.UPSERT) == {}


def test_associations_follow_in_the_same_run(lab: Lab, vendor: BulkVendor) -> None:
    people, team = lab.people(12), Group.objects.create(name="Red")
    for person in people[:5]:
        person.groups.add(team)
    lab.run(lab.teams())
    vendor.pushes.clear()
    sync = lab.sync({"name": {}, "email": {}, "teams": {"association": True}}, bulk_from=10)
    run = lab.run(sync)
    assert counts(run) == {"created": 12}
    assert (vendor.sent(Op.UPSERT), vendor.sent(Op.ASSOCIATE)) == ({}, {str(p.pk): 1 for p in people[:5]})
    assert sum(bool(h.associated) for h in vendor.live()) == 5
    assert quiet(lab, vendor, sync)


def test_refused_rows_are_linked_where_they_are_there_and_ambiguous_ones_are_not_guessed(lab: Lab, vendor: BulkVendor) -> None:
    people, sync = lab.people(12), loading(lab)
    told = {
        str(people[0].pk): RecordError(Code.INVALID_VALUE, "That is no city.", "city", "BAD_CITY"),
        str(people[1].pk): RecordError(Code.SEVERAL, "Two of them have this e-mail.", "email", "MANY"),
    }

    def change(result: BulkResult) -> BulkResult:
        error = told.get(result.unique_key.rpartition(":")[2])
        keep = error is None or error.code is not Code.SEVERAL
        return (
            replace(result, status=Status.REJECTED, error=error, remote_id=result.remote_id if keep else None)
            if error
            else result
        )

    vendor.jobs.change = change
    run = lab.run(sync)
    assert (run.state, counts(run)) == ("problems", {"created": 10, "rejected": 1, "ambiguous": 1})
    refused, several = lab.link(people[0]), lab.link(people[1])
    assert (refused.state, bool(refused.remote_id), refused.code) == ("rejected", True, "invalid_value")
    assert (several.state, several.remote_id, several.code) == ("ambiguous", None, "several_remote")
    assert vendor.pushes == []
    again = lab.run(sync)
    assert counts(again) == {"unchanged": 10, "rejected": 1, "ambiguous": 1}
    assert vendor.pushes == []


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.NOT_SENT])
def test_what_a_job_did_not_write_for_certain_goes_one_batch_at_a_time(lab: Lab, vendor: BulkVendor, status: Status) -> None:
    people, sync = lab.people(15), loading(lab)
    if status is Status.NOT_SENT:
        vendor.jobs.skip = {str(p.pk) for p in people[:4]}
    else:
        lost = {str(p.pk) for p in people[:4]}
        vendor.jobs.change = lambda r: replace(r, status=status, remote_id=None) if r.unique_key.rpartition(":")[2] in lost else r
    run = lab.run(sync)
    assert (run.state, counts(run)) == ("succeeded", {"created": 15})
    assert set(vendor.sent(Op.UPSERT)) == {str(p.pk) for p in people[:4]}
    assert len(vendor.live()) == 15
    assert quiet(lab, vendor, sync)


@pytest.mark.parametrize("error", [Permanent("Not like this."), ConfigError("The scope for imports is missing.")])
def test_a_job_that_is_refused_leaves_the_records_to_the_normal_path(lab: Lab, vendor: BulkVendor, error: Exception) -> None:
    lab.people(15)
    vendor.jobs.refuse = [error]
    run = lab.run(loading(lab))
    assert (run.state, counts(run), vendor.jobs.taken) == ("succeeded", {"created": 15}, [])
    assert str(error) in RunPart.objects.get(run=run, kind=RunPart.Kind.BULK).last_error
    assert len(vendor.live()) == 15


@pytest.mark.parametrize("error", [OutcomeUnknown(), Retryable("No connection.", 0.01)])
def test_a_job_is_handed_in_again_only_when_the_vendor_does_not_have_it(lab: Lab, vendor: BulkVendor, error: Exception) -> None:
    lab.people(15)
    vendor.jobs.lose = [error]
    run = lab.run(loading(lab))
    assert counts(run) == {"created": 15}
    assert [job.perhaps_sent for job in vendor.jobs.asked] == [False, True]
    assert len({job.name for job in vendor.jobs.asked}) == 1
    assert (len(vendor.jobs.taken), len(vendor.live()), vendor.pushes) == (1, 15, [])


def test_a_job_that_failed_says_so_on_its_part(lab: Lab, vendor: BulkVendor) -> None:
    people = lab.people(12)
    vendor.jobs.note, vendor.jobs.skip = "The job was cancelled.", {str(p.pk) for p in people[6:]}
    run = lab.run(loading(lab))
    assert counts(run) == {"created": 12}
    assert "The job was cancelled." in RunPart.objects.get(run=run, kind=RunPart.Kind.BULK).last_error
    assert len(vendor.live()) == 12


def test_a_load_larger_than_a_job_becomes_several_that_are_taken_in_by_two_workers(lab: Lab, vendor: BulkVendor) -> None:
    vendor.jobs.limit, vendor.jobs.looks = 30, 3
    lab.people(100)
    run = start.start_run(loading(lab, bulk_from=20))
    workers = [threading.Thread(target=_work, args=(run.pk,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    run.refresh_from_db()
    assert (run.state, counts(run), run.read) == ("succeeded", {"created": 100}, 100)
    assert [len(job.keys) for job in vendor.jobs.taken] == [30, 30, 30]
    assert vendor.sent(Op.UPSERT).total() == 10  # too few for a job
    assert len({h.properties["own_key"] for h in vendor.live()}) == len(vendor.live()) == 100


def _work(run_id: int) -> None:
    try:
        while Run.objects.filter(pk=run_id, state__in=Run.ACTIVE).exists():
            execute.work(5, run_id)
    finally:
        connections.close_all()


def test_a_record_somebody_waits_for_does_not_wait_for_the_job(lab: Lab, vendor: BulkVendor) -> None:
    people, sync = lab.people(15), loading(lab)
    vendor.jobs.looks, once = 5, [1]

    def push_now() -> None:
        if once:
            once.clear()
            User.objects.filter(pk=people[0].pk).update(first_name="Urgent")
            start.push_keys(sync, [str(people[0].pk)])

    vendor.jobs.meanwhile = push_now
    run = lab.run(sync)
    assert counts(run) == {"created": 15}
    assert vendor.by_name()["Urgent"].id == lab.link(people[0]).remote_id
    assert len(vendor.live()) == 15
    assert quiet(lab, vendor, sync)


def test_the_vendor_matches_where_that_was_chosen_and_every_rule_overwrites(lab: Lab, vendor: BulkVendor) -> None:
    vendor.jobs.match = ("email",)
    lab.people(12)
    sync = loading(lab, bulk_match=True)
    assert counts(lab.run(sync)) == {"created": 12}
    assert [job.match_by for job in vendor.jobs.asked] == ["email"]
    assert vendor.pulls == 0  # nothing was looked up
    FieldRule.objects.filter(sync=sync, target="city").update(write_mode="if_empty")
    lab.people(12, start=20)
    lab.rules(sync, {"name": {}, "email": {}, "city": {"write_mode": "if_empty"}})
    assert counts(lab.run(sync))["created"] == 12
    assert [job.match_by for job in vendor.jobs.asked] == ["email", ""]


@pytest.mark.parametrize(("status", "cleared"), [(Status.CREATED, 0), (Status.UPDATED, 1)])
def test_what_a_job_cannot_clear_in_a_record_it_found_is_cleared_afterwards(
    lab: Lab, vendor: BulkVendor, status: Status, cleared: int
) -> None:
    people = lab.people(12)
    User.objects.filter(pk=people[0].pk).update(last_name="")
    vendor.jobs.change = lambda r: replace(r, status=status)
    rules = {"name": {}, "email": {}, "city": {"expression": "city == '' ? null : city"}}
    sync = lab.sync(rules, bulk_from=10)
    run = lab.run(sync)
    assert sum(counts(run).values()) == 12
    assert len(vendor.sent(Op.UPDATE)) == cleared
    assert all(call.changes[0].properties == {"city": None} for call in vendor.pushes)
    assert quiet(lab, vendor, sync)


def test_a_run_that_is_cancelled_while_a_job_is_going_on_is_made_good_by_the_next(lab: Lab, vendor: BulkVendor) -> None:
    lab.people(15)
    sync = loading(lab)
    vendor.jobs.looks = 1_000_000
    run = start.start_run(sync)
    execute.work(1, run.pk)
    start.cancel(run)
    assert Link.objects.filter(state="uncertain").count() == 15
    vendor.jobs.looks = 0
    again = lab.run(sync)
    assert counts(again) == {"created": 15}
    assert len(vendor.live()) == 15
    assert quiet(lab, vendor, sync)


@pytest.mark.parametrize("options", [{"bulk_from": None}, {"bulk_from": 16}, {"mode": "update"}], ids=str)
def test_no_job_is_made_where_none_is_wanted(lab: Lab, vendor: BulkVendor, options: dict[str, object]) -> None:
    lab.people(15)
    run = lab.run(loading(lab, **options))
    assert run.state == Run.State.SUCCEEDED
    assert vendor.jobs.asked == []


def test_a_part_whose_claim_was_lost_hands_in_nothing(lab: Lab, vendor: BulkVendor, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.people(15)
    run = start.start_run(loading(lab))
    prepared = claims.claim("me", run.pk)
    assert prepared
    execute.execute(prepared)
    mine = claims.claim("me", run.pk)
    assert mine
    assert mine.part.kind == RunPart.Kind.BULK
    RunPart.objects.filter(pk=mine.part.pk).update(fence=mine.fence.fence + 1)
    execute.execute(mine)
    assert (vendor.jobs.asked, Link.objects.count()) == ([], 0)


def test_a_spool_can_be_read_again_and_by_two_at_once() -> None:
    with Spool() as spool:
        for key in "abcd":
            spool.add(Spooled(Change(key, Op.UPSERT, unique_key=key), Mark(key, 0, Op.UPSERT)))
        spool.drop({"b"})
        pairs = [(one.local_key, other.local_key) for one in spool for other in spool]
        assert spool.count == 3
        assert pairs == [(one, other) for one in "acd" for other in "acd"]
        assert [[mark.local_key for mark in some] for some in spool.marks()] == [list("abcd")]
