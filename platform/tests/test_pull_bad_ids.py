"""Ids that nobody can look up, moments that are none, and what is counted while a run is going on."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from syncline.contract import RemoteRecord
from syncline.ledger.models import ErrorGroup
from syncline.ledger.pulled import Arrival
from syncline.runs import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.progress import with_counts
from syncline.runs.pull import asking, noting, undone, window
from syncline.runs.pull.start import pull_records

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.02)
    monkeypatch.setattr(noting, "PAUSE", 0.02)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account):
        yield World(account)


def seed(world: World, number: int) -> list[str]:
    return [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city="Here") for n in range(number)]


def only_numbers(ids: Sequence[str]) -> bool:
    """As HubSpot: one id that is no number refuses the call."""
    return any(id_.startswith("bad") for id_ in ids)


class TestIdsThatAreRefused:
    def test_one_bad_id_is_refused_with_its_reason_and_the_others_arrive(self, world: World) -> None:
        ids = seed(world, 40)
        sync = world.pulling()
        world.vendor.refuses = only_numbers

        run = pull_records(sync, [*ids[:17], "bad", *ids[17:]])
        execute.work(20)

        run.refresh_from_db()
        assert len(world.here()) == 40
        assert world.arrivals() == {"bad": ("rejected", asking.REFUSED_ID)}
        assert "An id is no number." in Arrival.objects.get().reason
        assert (run.state, run.created, run.rejected) == (Run.State.PROBLEMS, 40, 1)
        assert ErrorGroup.objects.get(run_id=run.pk).next_step.startswith("Nothing to do if the account has no such ids")
        assert world.vendor.fetches <= 15

    def test_a_whole_run_looks_for_it_again_and_comes_to_its_end(self, world: World) -> None:
        seed(world, 3)
        sync = world.pulling()
        world.vendor.refuses = only_numbers
        pull_records(sync, ["bad"])
        execute.work(20)

        run = world.run(sync)

        assert run.state == Run.State.PROBLEMS
        assert (run.created, run.unchanged) == (3, 0)
        assert "1 from there rejected here" in run.reason

    def test_a_refusal_that_no_id_is_the_reason_of_is_not_tried_with_each(self, world: World) -> None:
        ids = seed(world, 400)
        sync = world.pulling()
        world.vendor.refuses = lambda _ids: True

        run = pull_records(sync, ids)
        execute.work(20)

        run.refresh_from_db()
        assert run.state == Run.State.FAILED
        assert run.reason == "An id is no number."
        assert world.vendor.fetches < 80


class TestIdsThatNoDatabaseTakes:
    @pytest.mark.parametrize("how", ["listed", "fetched"])
    @pytest.mark.parametrize("odd", ["a\0b", "\ud800"], ids=repr)
    def test_merged_and_associated_ids_hold_up_nothing(
        self, world: World, monkeypatch: pytest.MonkeyPatch, how: str, odd: str
    ) -> None:
        ids = seed(world, 3)
        sync = world.pulling(teams=True)
        record = world.vendor.record

        def with_odd_ids(held: Any, *given: Any) -> RemoteRecord:
            found = record(held, *given)
            return replace(found, merged=(odd,), associations={"teams": (odd,)} if held.id == ids[1] else {})

        monkeypatch.setattr(world.vendor, "record", with_odd_ids)
        run = pull_records(sync, ids) if how == "fetched" else world.run(sync)
        execute.work(20)

        run.refresh_from_db()
        assert len(world.here()) == 3
        assert run.state == Run.State.PROBLEMS
        assert world.arrivals() == {ids[1]: ("waiting", "waiting")}
        assert "\ufffd" in Arrival.objects.get().reason or "?" in Arrival.objects.get().reason


class TestMoments:
    def test_a_record_changed_at_a_time_of_no_zone_arrives(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        ids = seed(world, 2)
        world.vendor.lag = 60.0
        sync = world.pulling("two_way")
        world.run(sync)
        record = world.vendor.record

        def without_zone(held: Any, *given: Any) -> RemoteRecord:
            return replace(record(held, *given), modified_at=dt.datetime(2026, 1, 1))

        world.vendor.edit(ids[0], city="Moved")
        monkeypatch.setattr(world.vendor, "record", without_zone)
        run = world.changes(sync)

        assert run.state == Run.State.SUCCEEDED, run.reason
        assert world.here()["Name 0"][1] == "Moved"


class TestLiveCounts:
    def test_a_conflict_that_pull_and_push_meet_counts_once_while_the_run_is_active(self, world: World) -> None:
        [id_] = seed(world, 1)
        sync = world.pulling("two_way")
        world.run(sync)
        user = User.objects.get(pk=world.linked()[id_])
        User.objects.filter(pk=user.pk).update(last_name="Ours")
        world.vendor.edit(id_, city="Theirs")
        run = world.run(sync)
        assert sum(RunPart.objects.filter(run=run).values_list("conflicts", flat=True)) == 2
        Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING)

        [shown] = with_counts([Run.objects.get(pk=run.pk)])

        assert shown.conflicts == 1


def test_an_id_longer_than_any_that_is_kept_holds_up_nothing(world: World) -> None:
    sync = world.pulling()
    undone.put_by(sync, ["x" * 201, "7"], "It cannot run now.")
    assert list(Arrival.objects.values_list("remote_id", flat=True)) == ["7"]
