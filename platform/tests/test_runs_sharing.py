"""Many workers share one run: ranges are split, urgent parts go first, a deadly record is given up alone, runs are paused."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection
from syncline.connections.models import ConnectionState
from syncline.contract import AuthError, Change, ObjectType, PushResult
from syncline.ledger.models import Link
from syncline.runs import claims, execute
from syncline.runs.models import Run, RunPart
from syncline.runs.push import reader, results, sender, sweep
from syncline.runs.start import AlreadyRunning, cancel, pause, push_keys, resume, start_run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor, raising  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
Kind, State = RunPart.Kind, RunPart.State


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> Iterator[Lab]:
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    settings.SYNCLINE_PART_ROWS = 10
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def one_part(run: Run, owner: str = "w") -> RunPart:
    got = claims.claim(owner, run.pk)
    assert got is not None
    execute.execute(got)
    return RunPart.objects.get(pk=got.part.pk)


def lease_ends() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncline_runpart SET lease_until = now() - interval '1 s' WHERE state = 'leased'")


# sharing


def test_whoever_takes_a_range_leaves_the_rest_to_others(lab: Lab) -> None:
    lab.people(35)
    run = start_run(lab.sync())
    assert one_part(run).kind == Kind.PREPARE
    first = claims.claim("one", run.pk)
    assert first is not None
    assert claims.claim("two", run.pk) is None, "it has not been split yet"
    execute.execute(first)
    kinds = list(RunPart.objects.filter(run=run, kind=Kind.RANGE).order_by("id").values_list("state", "read"))
    assert kinds == [("done", 10), ("queued", 0)]
    run = ended(lab, run)
    assert (run.state, run.read, counts(run)) == ("succeeded", 35, {"created": 35})
    assert run.parts.filter(kind=Kind.RANGE).count() == 4


def test_two_workers_at_once_share_a_run(lab: Lab) -> None:
    lab.people(200)
    run = start_run(lab.sync())
    one_part(run)
    owners: set[str] = set()
    together = threading.Barrier(2)

    push, met = lab.vendor.push, threading.Event()

    def meet(object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        if not met.is_set():
            together.wait(20)  # nobody gets on until both are sending
            met.set()
        return push(object_type, changes)

    lab.vendor.push = meet  # type: ignore[method-assign]

    def worker(name: str) -> None:
        try:
            while got := claims.claim(name, run.pk):
                owners.add(name)
                execute.execute(got)
        finally:
            connection.close()

    others = [threading.Thread(target=worker, args=(name,)) for name in ("one", "two")]
    others[0].start()
    while run.parts.filter(kind=Kind.RANGE).count() == 1:
        assert others[0].is_alive()
    others[1].start()
    for other in others:
        other.join(30)
    run = ended(lab, run)
    assert owners == {"one", "two"}
    assert (run.state, run.read, counts(run)) == ("succeeded", 200, {"created": 200})
    assert len(lab.vendor.tables["people"]) == 200


def ended(lab: Lab, run: Run) -> Run:
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(20, run.pk)
    run.refresh_from_db()
    return run


# what kills its workers


class Killed(BaseException):
    """As if the process were gone: nothing catches it."""


def test_only_the_record_that_kills_its_workers_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    people = lab.people(30)
    deadly = str(people[17].pk)
    run = start_run(lab.sync())
    push = lab.vendor.push

    def dying(object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        if deadly in {c.local_key for c in changes}:
            raise Killed
        return push(object_type, changes)

    monkeypatch.setattr(lab.vendor, "push", dying)
    deaths = 0
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        try:
            execute.work(20, run.pk)
        except Killed:
            deaths += 1
            lease_ends()
        assert deaths < 50, "it would go on for ever"
    run.refresh_from_db()
    assert run.state == "failed"
    assert "1 of 4 parts were given up" not in run.reason, "it shrank to a record of its own"
    assert "parts were given up, the others carried out. Every attempt ended without progress." in run.reason
    assert counts(run)["created"] == 29
    assert set(map(str, (p.pk for p in people))) - {deadly} == delivered(lab)
    dead = run.parts.get(state=State.DEAD)
    assert (dead.after_key, dead.until_key) == (str(people[16].pk), deadly)


def delivered(lab: Lab) -> set[str]:
    return set(Link.objects.filter(state=Link.State.DELIVERED).values_list("local_key", flat=True))


def test_an_error_that_all_parts_would_meet_ends_the_run(lab: Lab) -> None:
    lab.people(35)
    run = start_run(lab.sync())
    one_part(run)
    lab.vendor.faults = [raising(AuthError("Token revoked."))]
    one_part(run)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("failed", "Token revoked.")
    assert set(run.parts.values_list("state", flat=True)) == {"done", "dead", "cancelled"}
    lab.connection.refresh_from_db()
    assert lab.connection.state == ConnectionState.RECONNECT


# what somebody waits for


def test_records_somebody_waits_for_join_the_active_run_and_go_first(lab: Lab) -> None:
    people, sync = lab.people(35), lab.sync()
    run = start_run(sync)
    one_part(run)
    last = str(people[-1].pk)
    assert push_keys(sync, [last], user=lab.owner).pk == run.pk
    part = one_part(run)
    assert (part.kind, part.state) == (Kind.KEYS, State.DONE)
    assert delivered(lab) == {last}
    run = ended(lab, run)
    assert (run.state, run.read, counts(run)) == ("succeeded", 35, {"created": 35}), "counted once"


def test_records_start_a_run_of_their_own_when_none_is_active(lab: Lab) -> None:
    people, sync = lab.people(5), lab.sync()
    run = push_keys(sync, [str(people[2].pk)])
    assert run.kind == Run.Kind.KEYS
    run = ended(lab, run)
    assert (run.state, run.read, counts(run)) == ("succeeded", 1, {"created": 1})
    assert delivered(lab) == {str(people[2].pk)}


def test_a_plan_cannot_take_them(lab: Lab) -> None:
    people, sync = lab.people(2), lab.sync()
    start_run(sync, kind=Run.Kind.PLAN)
    with pytest.raises(AlreadyRunning, match="plan"):
        push_keys(sync, [str(people[0].pk)])


def test_a_bulk_import_on_its_way_is_not_overtaken(lab: Lab) -> None:
    people, sync = lab.people(2), lab.sync()
    RunPart.objects.create(run=start_run(sync), kind=Kind.BULK)
    with pytest.raises(AlreadyRunning, match="bulk import"):
        push_keys(sync, [str(people[0].pk)])


def test_they_are_carried_out_beside_the_part_a_worker_is_at(lab: Lab) -> None:
    """The backfill's first call is answered only after the urgent record has arrived, in the same worker."""
    people, sync = lab.people(30), lab.sync()
    run = start_run(sync)
    one_part(run)
    urgent, arrived = str(people[-1].pk), threading.Event()
    push = lab.vendor.push

    def slow(object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        if [c.local_key for c in changes] == [urgent]:
            arrived.set()
        elif not asked.is_set():
            asked.set()
            assert arrived.wait(20), "it did not overtake"
        return push(object_type, changes)

    asked = threading.Event()
    lab.vendor.push = slow  # type: ignore[method-assign]

    def ask() -> None:
        asked.wait(20)
        push_keys(sync, [urgent])
        connection.close()

    asker = threading.Thread(target=ask)
    asker.start()
    run = ended(lab, run)
    asker.join()
    assert (run.state, run.read, counts(run)) == ("succeeded", 30, {"created": 30})


# pausing


def test_a_paused_run_waits_and_goes_on_where_it_stood(lab: Lab) -> None:
    lab.people(35)
    run = start_run(lab.sync())
    one_part(run)
    one_part(run)
    assert pause(run)
    assert claims.claim("w", run.pk) is None
    execute.work(5, run.pk)
    run.refresh_from_db()
    assert (run.state, len(delivered(lab))) == ("paused", 10)
    assert not pause(run), "it is paused already"
    assert resume(run)
    run = ended(lab, run)
    assert (run.state, run.read, counts(run)) == ("succeeded", 35, {"created": 35})
    assert not resume(run)
    assert set(lab.vendor.sent().values()) == {1}


def test_a_worker_gives_its_part_back_when_the_run_is_paused(
    lab: Lab, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SYNCLINE_PART_ROWS = 10_000
    settings.SYNCLINE_LEASE_SECONDS = 1.2  # its heart beats five times a second
    monkeypatch.setattr(reader, "CHUNK", 50)
    lab.people(1000)
    run = start_run(lab.sync())
    one_part(run)
    push = lab.vendor.push

    def pausing(object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        pause(run)
        time.sleep(0.3)
        return push(object_type, changes)

    lab.vendor.push = pausing  # type: ignore[method-assign]
    part = one_part(run)
    run.refresh_from_db()
    assert (part.state, part.attempt, run.state) == ("queued", 0, "paused")
    assert 0 < len(delivered(lab)) < 1000
    lab.vendor.push = push  # type: ignore[method-assign]
    resume(run)
    run = ended(lab, run)
    assert (run.state, run.read, counts(run)) == ("succeeded", 1000, {"created": 1000})


def test_a_paused_run_can_be_cancelled(lab: Lab) -> None:
    lab.people(15)
    run = start_run(lab.sync())
    one_part(run)
    pause(run)
    cancel(run)
    run.refresh_from_db()
    assert (run.state, run.reason) == ("cancelled", "Cancelled by a person.")


# the sweep


def test_what_somebody_pushes_although_nothing_changed_is_counted_once(lab: Lab) -> None:
    people, sync = lab.people(30), lab.sync()
    lab.run(sync)
    User.objects.filter(pk__in=[person.pk for person in people[:5]]).update(last_name="Elsewhere")
    run = start_run(sync)
    push_keys(sync, [str(people[n].pk) for n in (0, 20)])
    assert one_part(run).kind == "keys"
    assert one_part(run).kind == "prepare"
    push_keys(sync, [str(people[n].pk) for n in (1, 21)])
    run = ended(lab, run)
    assert (run.read, counts(run)) == (30, {"updated": 5, "unchanged": 25})


@pytest.mark.parametrize("changed", [8, 10, 11])
def test_no_record_is_left_out_when_nearly_too_many_need_work(lab: Lab, monkeypatch: pytest.MonkeyPatch, changed: int) -> None:
    monkeypatch.setattr(sweep, "MOST", 10)
    people, sync = lab.people(30), lab.sync()
    lab.run(sync)
    settled = ("rejected", "ambiguous", "excluded", "gone", "merged")
    for person, state in zip(people, settled, strict=False):
        Link.objects.filter(local_key=str(person.pk)).update(state=state)
    User.objects.filter(pk__in=[person.pk for person in people[-changed:]]).update(last_name="Elsewhere")
    run = lab.run(sync)
    assert (run.read, run.updated, sum(counts(run).values())) == (30, changed, 30)


def test_unchanged_records_are_not_read_at_all(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    people, sync = lab.people(35), lab.sync()
    lab.run(sync)
    people[3].first_name = "Changed"
    people[3].save()
    run = lab.run(sync)
    assert (run.read, run.expected, counts(run)) == (35, 35, {"updated": 1, "unchanged": 34})
    assert list(run.parts.filter(kind=Kind.KEYS).values_list("keys", flat=True)) == [[str(people[3].pk)]]
    assert run.parts.filter(kind=Kind.RANGE).get().read == 0
    lab.people(1, start=100)
    run = lab.run(sync)
    assert (run.read, counts(run)) == (36, {"created": 1, "unchanged": 35})


def test_when_much_changed_ranges_are_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    people, sync = lab.people(35), lab.sync()
    lab.run(sync)
    type(people[0]).objects.filter(is_staff=False).update(first_name="All new")
    monkeypatch.setattr(sweep, "MOST", 34)
    run = lab.run(sync)
    assert (run.read, counts(run)) == (35, {"updated": 35})
    assert not run.parts.filter(kind=Kind.KEYS).exists()
    monkeypatch.setattr(sweep, "MOST", 35)
    type(people[0]).objects.filter(is_staff=False).update(first_name="Newer still")
    run = lab.run(sync)
    assert (run.read, counts(run)) == (35, {"updated": 35})
    assert run.parts.filter(kind=Kind.KEYS).exists()


def test_problems_are_counted_by_the_sweep_too(lab: Lab) -> None:
    people = lab.people(12)
    type(people[0]).objects.filter(pk=people[5].pk).update(first_name="x" * 30)
    sync = lab.sync()
    assert counts(lab.run(sync)) == {"created": 11, "rejected": 1}
    run = lab.run(sync)
    assert (run.state, run.read, counts(run)) == ("problems", 12, {"unchanged": 11, "rejected": 1})
    assert not run.parts.filter(kind=Kind.KEYS).exists(), "neither read nor mapped"


def test_the_lane_for_urgent_parts_ends_with_its_workers_time(lab: Lab) -> None:
    """Else it would be ended by force, as a worker that hangs is."""
    lab.people(3)
    run = push_keys(lab.sync(), [str(lab.people(1, start=7)[0].pk)])
    lane = execute._Express("w", run.pk, time.monotonic())
    lane._look()
    assert not lab.vendor.pushes
    lane._end += 60.0
    lane._look()
    assert len(lab.vendor.pushes) == 1
