"""Claims against a model: never two holders whose fence is valid, attempts counted, hopeless parts buried."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from syncline.connections.models import Connection
from syncline.ledger import writer
from syncline.ledger.records import Fence, Outcome, Scope
from syncline.models import Link
from syncline.runs import claims
from syncline.runs.models import Run, RunPart
from syncline.syncs.models import MappingVersion, Sync

PARTS = 2


@pytest.fixture
def run(transactional_db: None) -> Run:
    owner = User.objects.create_user("owner")
    there = Connection.objects.create(connector="none", name="c", owner=owner)
    sync = Sync.objects.create(name="s", connection=there, dataset="d.d", object_type="o")
    version = MappingVersion.objects.create(sync=sync, number=1, content={}, digest="0")
    return Run.objects.create(sync=sync, version=version)


class Claims(RuleBasedStateMachine):
    """What the table must say, beside the table. A worker that crashed still holds its fence, and may come back with it."""

    run: Run

    def __init__(self) -> None:
        super().__init__()
        RunPart.objects.all().delete()
        Link.objects.all().delete()
        self.parts: dict[int, list[Any]] = {
            p.pk: ["queued", 0, 0] for p in (RunPart.objects.create(run=self.run, kind="range") for _ in range(PARTS))
        }
        self.fences: list[Fence] = []  # every claim ever given out
        self.lapsed: set[int] = set()
        self.scope = Scope(self.run.sync.connection_id, "o", "d.d")

    def valid(self, fence: Fence) -> bool:
        state, _, number = self.parts[fence.part_id]
        return bool(state == "leased" and number == fence.fence)

    def claimable(self) -> set[int]:
        usable = {k for k, (_, attempt, _) in self.parts.items() if attempt < claims.MAX_ATTEMPTS}
        return {k for k in usable if self.parts[k][0] == "queued" or (self.parts[k][0] == "leased" and k in self.lapsed)}

    @rule()
    def claim(self) -> None:
        got = claims.claim("w", self.run.pk)
        if got is None:
            assert not self.claimable()
            return
        part = got.fence.part_id
        assert part in self.claimable()
        _, attempt, fence = self.parts[part]
        assert got.fence.fence == fence + 1
        self.parts[part] = ["leased", attempt + 1, fence + 1]
        self.lapsed.discard(part)
        self.fences.append(got.fence)

    @precondition(lambda self: self.fences)
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        fence = data.draw(st.sampled_from(self.fences))
        assert bool(claims.renew(fence)) == self.valid(fence)
        if self.valid(fence):
            self.lapsed.discard(fence.part_id)

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), spent=st.booleans())
    def release(self, data: st.DataObject, spent: bool) -> None:
        fence = data.draw(st.sampled_from(self.fences))
        valid = self.valid(fence)
        assert claims.release(fence, spent=spent) == valid
        if valid:
            part = self.parts[fence.part_id]
            part[0], part[1] = "queued", part[1] if spent else max(part[1] - 1, 0)

    @precondition(lambda self: self.fences)
    @rule(data=st.data(), progress=st.booleans())
    def commit(self, data: st.DataObject, progress: bool) -> None:
        fence = data.draw(st.sampled_from(self.fences))
        before = Link.objects.count()
        outcome = Outcome(str(before), 0, Link.State.EXCLUDED, counter="excluded" if progress else "")
        if self.valid(fence):
            assert writer.record(self.scope, fence, [outcome]) == {str(before)}
            if progress:
                self.parts[fence.part_id][1] = 0
        else:
            with pytest.raises(writer.FenceLost):
                writer.record(self.scope, fence, [outcome])
            assert Link.objects.count() == before, "nothing of a stale holder is kept"

    @rule(part=st.integers(0, PARTS - 1))
    def lease_ends(self, part: int) -> None:
        key = sorted(self.parts)[part]
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE syncline_runpart SET lease_until = now() - interval '1 s' WHERE id = %s AND state = 'leased'", [key]
            )
        if self.parts[key][0] == "leased":
            self.lapsed.add(key)

    @rule()
    def bury(self) -> None:
        hopeless = [
            k
            for k, (state, attempt, _) in self.parts.items()
            if attempt >= claims.MAX_ATTEMPTS and (state == "queued" or (state == "leased" and k in self.lapsed))
        ]
        assert len(claims.bury()) == len(hopeless)
        for key in hopeless:
            self.parts[key][0] = "dead"

    @precondition(lambda self: self.fences)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        fence = data.draw(st.sampled_from(self.fences))
        valid = self.valid(fence)
        assert claims.finish(fence) == valid
        if valid:
            self.parts[fence.part_id][0] = "done"

    @invariant()
    def table_is_as_the_model_says(self) -> None:
        rows = RunPart.objects.filter(pk__in=self.parts).values_list("pk", "state", "attempt", "fence")
        assert {pk: list(rest) for pk, *rest in rows} == self.parts


def test_claims_keep_to_the_model(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "MAX_ATTEMPTS", 3)
    Claims.run = run
    run_state_machine_as_test(
        Claims,
        settings=settings(max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_a_part_whose_worker_dies_every_time_is_given_up(run: Run) -> None:
    part = RunPart.objects.create(run=run, kind="range")
    for number in range(claims.MAX_ATTEMPTS):
        got = claims.claim("w")
        assert got is not None, number
        RunPart.objects.filter(pk=part.pk).update(lease_until="2020-01-01T00:00:00Z")
    assert claims.claim("w") is None
    assert claims.bury() == [run.pk]
    part.refresh_from_db()
    assert (part.state, part.last_error) == ("dead", "Every attempt ended without progress.")


def test_a_lease_is_refused_to_calls_that_could_outlive_it(run: Run) -> None:
    RunPart.objects.create(run=run, kind="range")
    got = claims.claim("w")
    assert got is not None
    lease = claims.Lease(got.fence)
    lease.gate(sum(claims.call_timeout()))
    with pytest.raises(writer.FenceLost):
        lease.gate(claims.lease_seconds() + 1)
    assert claims.finish(got.fence)
    with pytest.raises(writer.FenceLost):
        claims.Lease(got.fence).gate(claims.lease_seconds() + 1)
