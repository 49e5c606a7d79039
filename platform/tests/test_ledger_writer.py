"""The one writer: compare-and-set, fenced, all or nothing; and the reader's view of what it wrote."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, connections
from syncline.contract import Op, Status
from syncline.ledger import writer
from syncline.ledger.models import Entry, ErrorGroup, IdentityIndex, Link
from syncline.ledger.records import Fence, Mark, Outcome, Problem, Scope
from syncline.runs import claims, close
from syncline.runs.models import Run, RunPart
from syncline.runs.push import reader

sys.path += [path for path in (str(Path(__file__).parent),) if path not in sys.path]

from pushing.lab import Lab, People, PeopleByName, installed
from pushing.vendor import Vendor

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State
SEED = 7


@pytest.fixture
def lab() -> Iterator[Lab]:
    with installed(Vendor()):
        yield Lab(Vendor())


@pytest.fixture
def fence(lab: Lab) -> Fence:
    sync = lab.sync()
    assert sync.current is not None
    run = Run.objects.create(sync=sync, version=sync.current)
    RunPart.objects.create(run=run, kind="range")
    got = claims.claim("w", run.pk)
    assert got is not None
    return got.fence


@pytest.fixture
def scope(lab: Lab) -> Scope:
    return Scope(lab.connection.pk, "people", "test.person")


def done(key: str, revision: int = 0, remote_id: str | None = None, **more: object) -> Outcome:
    one = Outcome(key, revision, State.DELIVERED, remote_id=remote_id or f"r{key}", op=Op.CREATE, status=Status.CREATED)
    return replace(one, counter="created", **more)  # type: ignore[arg-type]


def test_a_stored_outcome_is_link_entry_counter_and_identity_at_once(fence: Fence, scope: Scope) -> None:
    one = done("1", sent={"name": "x"}, source_hash=5, identities=(("email", "a@b.c"),))
    assert writer.record(scope, fence, [one]) == {"1"}
    link = Link.objects.get()
    assert (link.state, link.remote_id, link.revision, link.source_hash, link.last_run_id) == (
        "delivered",
        "r1",
        1,
        5,
        fence.run_id,
    )
    entry = Entry.objects.get()
    assert (entry.link_id, entry.op, entry.status, entry.sent) == (link.pk, "create", "created", {"name": "x"})
    assert IdentityIndex.objects.get().remote_id == "r1"
    part = RunPart.objects.get()
    assert (part.created, part.read, part.attempt) == (1, 0, 0)


def test_a_link_that_changed_meanwhile_is_neither_marked_nor_stored(fence: Fence, scope: Scope) -> None:
    writer.record(scope, fence, [done("1")])
    assert writer.mark(scope, fence, [Mark("1", 0, Op.UPDATE, "r1"), Mark("2", 0, Op.CREATE)]) == {"2"}
    assert writer.record(scope, fence, [done("1", 0, "r9"), done("2", 1)]) == {"2"}
    assert Link.objects.get(local_key="1").remote_id == "r1"
    assert RunPart.objects.get().created == 2, "what was not stored is not counted"


def test_a_stale_fence_stores_nothing(fence: Fence, scope: Scope) -> None:
    stale = replace(fence, fence=fence.fence - 1)
    with pytest.raises(writer.FenceLost):
        writer.mark(scope, stale, [Mark("1", 0, Op.CREATE)])
    with pytest.raises(writer.FenceLost):
        writer.record(scope, stale, [done("1")])
    assert (Link.objects.count(), Entry.objects.count()) == (0, 0)


def test_a_remote_record_belongs_to_one_link(fence: Fence, scope: Scope) -> None:
    writer.record(scope, fence, [done("1", remote_id="same")])
    with pytest.raises(IntegrityError):
        writer.record(scope, fence, [done("2"), done("3", remote_id="same")])
    assert Link.objects.count() == 1, "all or nothing"


def test_a_mark_for_a_new_record_forgets_the_old_one_and_carries_no_date(fence: Fence, scope: Scope) -> None:
    writer.record(scope, fence, [done("1")])
    writer.mark(scope, fence, [Mark("1", 1, Op.CREATE)])
    link = Link.objects.get()
    assert (link.remote_id, link.state, link.uncertain_op, link.uncertain_at, link.source_hash) == (
        None,
        "uncertain",
        "create",
        None,
        None,
    )
    writer.date_doubts(scope, 0.0)
    link.refresh_from_db()
    assert link.uncertain_at is not None
    before = link.uncertain_at
    writer.date_doubts(scope, 0.0)
    link.refresh_from_db()
    assert link.uncertain_at == before


def test_threads_that_mark_the_same_records_get_each_of_them_once(fence: Fence, scope: Scope) -> None:
    marks = [Mark(str(n), 0, Op.CREATE) for n in range(50)]

    def race(_: int) -> frozenset[str]:
        try:
            return writer.mark(scope, fence, marks)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(race, range(4)))
    assert sorted(key for keys in won for key in keys) == sorted(m.local_key for m in marks)


SETTLED = """
INSERT INTO syncline_link (connection_id, object_type, dataset, local_key, remote_id, state)
SELECT %s, %s, %s, n, n, 'delivered' FROM generate_series(1, 5000) AS n
"""


def test_what_is_in_doubt_or_in_trouble_is_found_without_looking_at_all_links(fence: Fence, scope: Scope) -> None:
    said: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        with context["connection"].connection.cursor() as plain:
            said.append("\n".join(row[0] for row in plain.execute(f"EXPLAIN {sql}", params)))
        return execute(sql, params, many, context)

    run = Run.objects.select_related("sync").get(pk=fence.run_id)
    with connection.cursor() as cursor:
        cursor.execute(SETTLED, [scope.connection_id, scope.object_type, scope.dataset])
        cursor.execute("ANALYZE syncline_link")
    with connection.execute_wrapper(explain):
        writer.date_doubts(scope, 0.0)
        close._troubled(run)
    assert len(said) == 2
    assert all("link_unsettled" in one for one in said), said


def test_errors_are_grouped_by_cause_with_samples(fence: Fence, scope: Scope) -> None:
    long, other = Problem("too_long", "Too long.", "name", "g"), Problem("invalid_choice", "No choice.", "city", "g")
    for start in (0, 15, 30):
        rows = [Outcome(str(n), 0, State.REJECTED, problem=long, counter="rejected") for n in range(start, start + 15)]
        writer.record(scope, fence, rows)
    writer.record(scope, fence, [Outcome("x", 0, State.REJECTED, problem=other, counter="rejected")])
    found = {g.code: g for g in ErrorGroup.objects.all()}
    assert (found["too_long"].count, found["invalid_choice"].count) == (45, 1)
    assert 10 <= len(found["too_long"].samples) <= 30


def test_an_attempt_without_progress_stays_spent(fence: Fence, scope: Scope) -> None:
    unknown = Outcome("1", 0, State.UNCERTAIN, op=Op.CREATE, status=Status.UNKNOWN, uncertain_op="create")
    writer.record(scope, fence, [unknown])
    assert RunPart.objects.get().attempt == 1
    assert Link.objects.get().last_run_id is None, "it has not been counted"
    writer.record(scope, fence, [done("2")])
    assert RunPart.objects.get().attempt == 0


# what the reader makes of it


def source(scope: Scope, fence: Fence, *, named: bool = False, seed: int = SEED, force: bool = False) -> reader.Source:
    dataset = PeopleByName() if named else People()
    return reader.Source(dataset, ("name", "city"), scope, "", None, seed, fence.run_id, force)


def test_rows_come_in_key_order_in_chunks_and_a_quiet_row_is_only_counted(lab: Lab, fence: Fence, scope: Scope) -> None:
    people = lab.people(12)
    chunks = list(reader.chunks(source(scope, fence), size=5))
    assert [len(c.rows) for c in chunks] == [5, 5, 2]
    rows = [row for c in chunks for row in c.rows]
    assert [r.key for r in rows] == [str(p.pk) for p in people]
    assert rows[0].values == {"id": people[0].pk, "name": "Name 0", "city": "City 0"}

    other = replace(fence, run_id=fence.run_id + 1)  # another run looks at what this one settled
    writer.record(scope, fence, [done(r.key, source_hash=r.hash) for r in rows[:9]])
    (chunk,) = reader.chunks(source(scope, other))
    assert (len(chunk.rows), chunk.quiet, chunk.read) == (3, Counter(delivered=9), 12)
    (same,) = reader.chunks(source(scope, fence))
    assert same.quiet == Counter(), "this run has counted them itself"


def test_another_seed_reads_everything_and_a_changed_row_is_read_again(lab: Lab, fence: Fence, scope: Scope) -> None:
    people = lab.people(3)
    (chunk,) = reader.chunks(source(scope, fence))
    writer.record(scope, fence, [done(r.key, source_hash=r.hash) for r in chunk.rows])
    (again,) = reader.chunks(source(scope, fence))
    assert again.rows == []
    (reseeded,) = reader.chunks(source(scope, fence, seed=SEED + 1))
    assert len(reseeded.rows) == 3
    User.objects.filter(pk=people[1].pk).update(last_name="New")
    (changed,) = reader.chunks(source(scope, fence))
    assert [r.key for r in changed.rows] == [str(people[1].pk)]
    User.objects.filter(pk=people[2].pk).update(email="not@mapped.org")
    (unmapped,) = reader.chunks(source(scope, fence))
    assert len(unmapped.rows) == 1, "a field no rule reads"


def test_reading_goes_on_after_a_key_with_number_and_text_keys(lab: Lab, fence: Fence, scope: Scope) -> None:
    people = lab.people(11)
    after = [r.key for c in reader.chunks(source(scope, fence), after=str(people[8].pk), size=2) for r in c.rows]
    assert after == [str(people[9].pk), str(people[10].pk)], "as numbers: 9 is less than 10"
    User.objects.filter(pk=people[0].pk).update(username="Ü-ber")
    User.objects.filter(pk=people[1].pk).update(username="u-1")
    seen = [r.key for c in reader.chunks(source(scope, fence, named=True), size=2) for r in c.rows]
    assert sorted(seen) == sorted(User.objects.filter(is_staff=False).values_list("username", flat=True))
    assert len(seen) == 11
    until = [r.key for c in reader.chunks(source(scope, fence, named=True), after=seen[2], until=seen[5], size=2) for r in c.rows]
    assert until == seen[3:6]


def test_chosen_rows_may_be_gone_and_reading_them_goes_on(lab: Lab, fence: Fence, scope: Scope) -> None:
    keys = [str(p.pk) for p in lab.people(4)] + ["999999"]
    chunks = list(reader.chosen(source(scope, fence), keys, size=2))
    assert [(len(c.rows), c.last) for c in chunks] == [(2, "2"), (2, "4"), (0, "5")]
    assert [r.key for c in reader.chosen(source(scope, fence), keys, size=2, skip=2) for r in c.rows] == keys[2:4]


def test_problems_are_quiet_until_a_person_asks(lab: Lab, fence: Fence, scope: Scope) -> None:
    lab.people(1)
    (chunk,) = reader.chunks(source(scope, fence))
    row = chunk.rows[0]
    writer.record(scope, fence, [Outcome(row.key, 0, State.REJECTED, source_hash=row.hash, counter="rejected")])
    later = replace(fence, run_id=fence.run_id + 1)
    (quiet,) = reader.chunks(source(scope, later))
    assert (quiet.rows, quiet.quiet) == ([], Counter(rejected=1))
    (asked,) = reader.chunks(source(scope, later, force=True))
    assert len(asked.rows) == 1
