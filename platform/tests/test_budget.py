"""The budget in one process: pace, lanes, pauses, what headers teach, and that nothing is reserved in vain."""

from __future__ import annotations

import datetime as dt
import gc
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from syncline.connections import budget_scope
from syncline.connections.budget import TERMS, Lane, PostgresBudget
from syncline.connections.budget_models import Budget, BudgetUse
from syncline.connections.models import Connection, Registration
from syncline.connections.own_connections import OwnConnections
from syncline.contract import Capability, ConnectorFault, ConnectorInfo, Limit, RateLimited

GENERAL = Limit(
    "general", "app_account", "most calls", 10.0, 190, headers={"X-Max": "{size}", "X-Left": "of {size}: {remaining}"}
)
SEARCH = Limit("search", "account", "search", 1.0, 5)
DAILY = Limit(
    "daily", "account", "every call", 86_400.0, 1000, every_call=True, headers={"X-Day": "{size}", "X-Day-Left": "{remaining}"}
)
COUNTED = Limit("monthly", "account", "every call", 86_400.0, 3, every_call=True)
LIMITS = (GENERAL, SEARCH, DAILY)
NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)

Make = Callable[..., PostgresBudget]


@pytest.fixture
def make(transactional_db: None) -> Iterator[Make]:
    """Budgets of one account; those made with the same `account` share their rows."""

    def made(lane: Lane = Lane.BACKFILL, limits: Sequence[Limit] = LIMITS, account: str = "1", **more: object) -> PostgresBudget:
        scopes = {limit.name: f"toy:{limit.name}:{account}" for limit in limits}
        return PostgresBudget("toy", account, limits, scopes, lane, **more)  # type: ignore[arg-type]

    yield made
    OwnConnections.close_idle()


def row(limit: str, account: str = "1") -> Budget:
    return Budget.objects.get(scope=f"toy:{limit}:{account}")


def used(limit: str, lane: Lane = Lane.BACKFILL) -> BudgetUse:
    return BudgetUse.objects.get(budget=row(limit), lane=lane)


def most_in(times: Sequence[float], window: float) -> int:
    """The most calls in any window, wherever it starts: the plain model of a limit."""
    return max((sum(start <= other < start + window for other in times) for start in times), default=0)


# pace


_accounts = itertools.count(100)
_limit = st.tuples(st.integers(1, 60), st.sampled_from([0.5, 1.0, 3.0]))


def _asking(chance: Random) -> tuple[float, Lane, str]:
    """Seconds since the one before (a rest now and then, else none), who asks, and what its call counts against."""
    gap = chance.choice([0.0, 0.0, 0.0, 0.02, 0.1, 1.0 if chance.random() < 0.2 else 0.0])
    return gap, chance.choice([Lane.INTERACTIVE, *Lane]), chance.choice(["one", "one", "other"])


@settings(max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=_limit, other=_limit, both=_limit, chance=st.randoms(use_true_random=False))
def test_no_window_sees_more_calls_than_the_limit(
    make: Make, one: tuple[int, float], other: tuple[int, float], both: tuple[int, float], chance: Random
) -> None:
    declared = {"one": one, "other": other, "both": both}
    limits = [Limit(name, "account", "", window, size, every_call=name == "both") for name, (size, window) in declared.items()]
    account = str(next(_accounts))
    lanes = {lane: make(lane, limits, account) for lane in Lane}
    now, calls = 0.0, dict[str, list[float]]({"one": [], "other": [], "both": []})
    for gap, lane, name in (_asking(chance) for _ in range(200)):
        now += gap
        verdict = lanes[lane].reserve(name, at=NOON + dt.timedelta(seconds=now))
        if verdict.granted:
            assert verdict.wait <= TERMS[lane].ahead
            calls[name].append(now + verdict.wait)
            calls["both"].append(now + verdict.wait)
    for name, (size, window) in declared.items():
        assert most_in(calls[name], window) <= size


@pytest.mark.parametrize(("limit", "share"), [(GENERAL, 0.965), (SEARCH, 0.88)])
def test_who_asks_all_the_time_gets_nearly_all(make: Make, limit: Limit, share: float) -> None:
    budget = make(limits=[limit])
    now, times = 0.0, list[float]()
    while now < 30:
        verdict = budget.reserve("", at=NOON + dt.timedelta(seconds=now))
        if verdict.granted:
            times.append(now + verdict.wait)
        else:
            now += verdict.wait - TERMS[Lane.BACKFILL].ahead + 0.001
    assert most_in(times, limit.window) <= limit.size
    assert len(times) >= share * limit.size * 30 / limit.window


def test_a_call_counts_against_its_own_limit_and_those_that_count_every_call(make: Make) -> None:
    budget = make()
    budget.acquire("")
    budget.acquire("search")
    assert {use.budget.limit: use.calls for use in BudgetUse.objects.select_related("budget")} == {
        "general": 1,
        "search": 1,
        "daily": 2,
    }


def test_a_limit_that_is_not_declared_is_the_connectors_fault(make: Make) -> None:
    with pytest.raises(ConnectorFault, match="'serach'"):
        make().acquire("serach")


# lanes


def saturated(budget: PostgresBudget, limit: str = "") -> None:
    while budget.reserve(limit, at=NOON).granted:
        pass


def test_who_may_look_far_ahead_finds_a_short_queue(make: Make) -> None:
    saturated(make(Lane.BACKFILL))
    assert make(Lane.BACKFILL).reserve("", at=NOON).granted is False
    waits = {}
    for lane in (Lane.CHANGE, Lane.INTERACTIVE):
        waits[lane] = make(lane).reserve("", at=NOON)
    assert all(verdict.granted and verdict.wait < 0.5 for verdict in waits.values())


def test_interactive_calls_are_refused_at_their_own_horizon(make: Make) -> None:
    saturated(make(Lane.INTERACTIVE))
    assert make(Lane.INTERACTIVE).reserve("", at=NOON).wait > TERMS[Lane.INTERACTIVE].ahead
    assert not make(Lane.BACKFILL).reserve("", at=NOON).granted


def test_a_refused_caller_asks_again_until_there_is_room(make: Make) -> None:
    slow = Limit("general", "account", "most calls", 1.0, 4)
    budget = make(limits=[slow])
    for _ in range(3):
        budget.acquire("")  # the second has to wait longer than a backfill may reserve ahead
    assert used("general").calls == 3
    assert used("general").waited > 2 * 1.0 / 4 - 0.1


# pauses


def test_a_429_moves_everyone(make: Make) -> None:
    one, others = make(), [make(lane) for lane in Lane]
    one.acquire("")
    one.pause("", 30.0)
    for other in others:
        verdict = other.reserve("")
        assert (verdict.granted, verdict.paused, verdict.limit) == (False, True, "general")
        assert verdict.wait > 25
    assert others[0].reserve("search").granted
    assert used("general").refused == 1


def test_nobody_starts_with_a_burst_after_a_pause(make: Make) -> None:
    budget = make()
    budget.acquire("")
    budget.pause("", 2.0)
    after = row("general").paused_until
    waits = [make(Lane.INTERACTIVE).reserve("", at=after).wait for _ in range(3)]
    assert waits[0] == pytest.approx(0.0, abs=0.001)
    assert waits[1] >= 0.05
    assert waits[2] >= 0.1


def test_who_sleeps_towards_a_call_when_the_pause_comes_asks_again(make: Make) -> None:
    other, slept = make(), list[float]()

    def interrupted(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 1:
            other.pause("", 0.3)
        threading.Event().wait(seconds)

    interactive = make(Lane.INTERACTIVE, [Limit("general", "account", "most calls", 1.0, 5)], sleep=interrupted)
    interactive.acquire("")
    interactive.acquire("")
    assert used("general", Lane.INTERACTIVE).calls == 3  # one reservation was lost
    with connection.cursor() as cursor:
        cursor.execute("SELECT paused_until <= clock_timestamp() FROM syncline_budget WHERE id = %s", [row("general").pk])
        assert cursor.fetchone()[0]


def test_a_long_wait_gives_the_worker_back_and_reserves_nothing(make: Make) -> None:
    budget = make()
    budget.acquire("")
    budget.pause("daily", 3600.0)
    before = row("general").arrival
    with pytest.raises(RateLimited, match=r"asked us to pause \(daily.*60 minutes") as refused:
        budget.acquire("")
    assert refused.value.scope == "daily"
    assert 3500 < (refused.value.after or 0) <= 3600
    assert row("general").arrival == before
    assert used("general").calls == used("daily").calls == 1


# counted limits


def test_a_counted_limit_without_headers_ends_with_its_size_and_begins_anew(make: Make) -> None:
    budget = make(Lane.INTERACTIVE, [GENERAL, COUNTED])
    assert [budget.reserve("").granted for _ in range(4)] == [True, True, True, False]
    with pytest.raises(RateLimited, match=r"used up \(monthly") as refused:
        budget.acquire("")
    assert 86_000 < (refused.value.after or 0) <= 86_400
    tomorrow = row("monthly").arrival + dt.timedelta(seconds=1)
    assert budget.reserve("", at=tomorrow).granted
    assert row("monthly").remaining == 2


def test_what_remains_of_the_day_is_learnt_and_the_last_of_it_kept_for_people(make: Make) -> None:
    backfill, change, person = make(), make(Lane.CHANGE), make(Lane.INTERACTIVE)
    backfill.acquire("")
    assert row("daily").remaining is None  # not told yet, so not enforced
    backfill.observe("", {"X-Day": "1000", "x-day-left": "40"})
    assert row("daily").remaining == 40
    assert not backfill.reserve("").granted
    assert change.reserve("").granted
    change.observe("", {"X-Day-Left": "5"})
    assert not change.reserve("").granted
    assert person.reserve("").granted
    assert row("daily").remaining == 4


def test_a_used_up_day_is_tried_again_now_and_then(make: Make) -> None:
    person = make(Lane.INTERACTIVE)
    person.acquire("")
    person.observe("", {"X-Day-Left": "0"})
    seen = row("daily").observed_at
    assert seen
    assert 890 < person.reserve("", at=seen + dt.timedelta(seconds=1)).wait < 900
    later = seen + dt.timedelta(seconds=901)
    assert person.reserve("", at=later).granted
    assert not person.reserve("", at=later + dt.timedelta(seconds=1)).granted  # one probe is enough
    make().observe("", {"X-Day-Left": "990"})
    assert person.reserve("", at=later + dt.timedelta(seconds=2)).granted


def test_calls_on_their_way_do_not_give_a_day_back(make: Make) -> None:
    make().acquire("")
    make().observe("", {"X-Day-Left": "500"})
    make().acquire("")
    make().observe("", {"X-Day-Left": "503"})  # an answer from before
    assert row("daily").remaining == 499


# headers


def test_the_size_is_learnt(make: Make) -> None:
    budget = make()
    budget.acquire("")
    budget.observe("", {"x-max": "100"})
    assert row("general").learnt_size == 100
    saturated(make(account="1"))
    assert make(Lane.INTERACTIVE).reserve("", at=NOON).wait == pytest.approx(0.25 + 10 / 95.5, abs=0.11)
    make().observe("", {"X-Max": "190"})
    assert row("general").learnt_size is None


@pytest.mark.parametrize("value", ["0", "-5", "many", "", "5000000", "7", "9" * 30])
def test_nonsense_is_not_learnt(make: Make, value: str) -> None:
    budget = make()
    budget.acquire("")
    budget.observe("", {"X-Max": value, "X-Day-Left": "1000000", "X-Left": "next to nothing"})
    assert (row("general").learnt_size, row("daily").remaining) == (None, None)


def test_everybody_steps_back_when_others_use_up_the_limit(make: Make) -> None:
    budget = make()
    budget.acquire("")
    budget.observe("", {"X-Left": "of 190: 100"})
    assert budget.reserve("").wait < 0.2
    budget.observe("", {"X-Left": "of 190: 0"})
    assert not make().reserve("").granted
    assert make(Lane.INTERACTIVE).reserve("").wait > 0.8


# the database


def test_what_is_reserved_stands_whatever_the_caller_rolls_back(make: Make) -> None:
    with transaction.atomic():
        make().acquire("")
        transaction.set_rollback(True)
    assert used("general").calls == 1


def test_rows_made_by_many_at_once_are_one(make: Make) -> None:
    together = threading.Barrier(8)

    def first(_: int) -> None:
        together.wait()
        make(Lane.INTERACTIVE).acquire("")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(first, range(8)))
    assert Budget.objects.filter(connector="toy").count() == 2
    assert used("general", Lane.INTERACTIVE).calls == used("daily", Lane.INTERACTIVE).calls == 8


def test_what_many_reserve_at_once_is_reserved_one_after_the_other(make: Make) -> None:
    limit, together, waits = Limit("general", "account", "most calls", 1.0, 100), threading.Barrier(8), list[float]()

    def reserve(_: int) -> None:
        budget = make(Lane.INTERACTIVE, [limit])
        together.wait()
        waits.extend(budget.reserve("", at=NOON).wait for _ in range(25))

    make(limits=[limit]).ensure("general")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reserve, range(8)))
    assert len(waits) == 200
    assert all(later - earlier > 0.0099 for earlier, later in itertools.pairwise(sorted(waits)[2:]))


def test_a_limit_that_the_connector_changed_is_as_it_says_now(make: Make) -> None:
    make().acquire("")
    make(limits=[Limit("general", "account", "most calls", 5.0, 50)]).ensure("general")
    assert (row("general").size, row("general").window) == (50, 5.0)


def test_a_connection_that_broke_is_replaced(make: Make) -> None:
    budget = make()
    budget.acquire("")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    budget.acquire("")
    assert used("general").calls == 2


def test_its_connections_go_with_it(make: Make) -> None:
    budget = make()
    budget.acquire("")
    (kept,) = budget._doors._idle
    assert not kept.closed
    del budget
    gc.collect()
    assert kept.closed


# scopes


INFO = ConnectorInfo("toy", "Toy", "1", ">=1", frozenset({Capability.CHECK}), limits=LIMITS)


def scopes(account: str, credentials: dict[str, str], client_id: str = "") -> dict[str, str]:
    app = Registration(connector="toy", client_id=client_id) if client_id else None
    return budget_scope.scopes(Connection(connector="toy", account_id=account, credentials=credentials, registration=app), INFO)


def test_who_shares_what_the_vendor_counts_shares_a_budget() -> None:
    one, same, other_app = scopes("7", {"token": "a"}), scopes("7", {"token": "a"}), scopes("7", {"token": "b"})
    assert one == same
    assert {name for name in one if one[name] == other_app[name]} == {"search", "daily"}
    assert not set(one.values()) & set(scopes("8", {"token": "c"}).values())


def test_an_oauth_app_keeps_its_budget_when_its_token_changes() -> None:
    assert scopes("7", {"access_token": "x"}, "app-1") == scopes("7", {"access_token": "y"}, "app-1")
    assert scopes("7", {"access_token": "x"}, "app-1")["general"] != scopes("7", {"access_token": "x"}, "app-2")["general"]


def test_no_scope_shows_a_secret() -> None:
    assert "hunter2" not in str(scopes("7", {"token": "hunter2"}))
