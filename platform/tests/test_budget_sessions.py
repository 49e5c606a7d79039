"""Sessions keep to the account's budget: pages as people, runs by the urgency of their part; nobody when it is switched off."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from syncline.connections import service
from syncline.connections.budget import Lane
from syncline.connections.budget_models import Budget, BudgetUse
from syncline.connections.models import Connection
from syncline.connections.own_connections import OwnConnections
from syncline.connections.sessions import open_session
from syncline.contract import RateLimited
from syncline.runs.job import LANES
from syncline.runs.models import RunPart
from syncline.runs.outcome import consequence

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import TOKEN, staff  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection(vendor: Any) -> Iterator[Connection]:
    made = Connection.objects.create(connector="toy", name="Mine", owner=staff("ann"), settings={"url": vendor.url})
    vendor.static_token = TOKEN["token"]
    service.save_credentials(made, "token", TOKEN)
    with override_settings(SYNCLINE_BUDGETS=True):
        yield made
    OwnConnections.close_idle()


def calls() -> dict[tuple[str, str], int]:
    return {(use.budget.limit, use.lane): use.calls for use in BudgetUse.objects.select_related("budget")}


def test_what_a_person_waits_for_is_interactive_and_counts_against_every_limit(connection: Connection) -> None:
    service.check(connection)
    assert calls() == {("calls", Lane.INTERACTIVE): 1, ("daily", Lane.INTERACTIVE): 1}


def test_once_the_account_is_known_it_is_the_accounts_budget(connection: Connection, vendor: Any) -> None:
    service.check(connection)
    service.check(connection)
    twin = Connection.objects.create(connector="toy", name="Twin", owner=connection.owner, settings={"url": vendor.url})
    service.save_credentials(twin, "token", TOKEN)
    service.check(twin)
    service.check(twin)
    assert Budget.objects.get(limit="daily", account="42").use.get().calls == 2
    assert Budget.objects.get(limit="calls", account="42").use.get().calls == 2


def test_a_run_calls_in_its_parts_lane(connection: Connection, vendor: Any) -> None:
    session = open_session(connection, lane=Lane.BACKFILL)
    session.http.request("GET", f"{vendor.url}/me")
    assert set(calls()) == {("calls", Lane.BACKFILL), ("daily", Lane.BACKFILL)}


def test_every_priority_has_its_lane() -> None:
    lanes = [LANES.get(priority, Lane.BACKFILL) for priority in RunPart.Priority]
    assert lanes == [Lane.BACKFILL, Lane.BACKFILL, Lane.SCHEDULED, Lane.CHANGE, Lane.INTERACTIVE]


def test_a_pause_is_told_in_a_sentence_before_anybody_is_called(connection: Connection, vendor: Any) -> None:
    session = open_session(connection)
    session.http.request("GET", f"{vendor.url}/me")
    session.http._budget.pause("", 900.0)
    before = list(vendor.calls)
    with pytest.raises(RateLimited, match=r"asked us to pause .* 15 minutes") as refused:
        session.http.request("GET", f"{vendor.url}/me")
    assert vendor.calls == before
    assert session.http.calls == 1
    what = consequence(refused.value)
    assert (what.part, what.spends) == ("again", False)  # the part goes back, and its worker is free


def test_switched_off_nobody_keeps_count(connection: Connection) -> None:
    with override_settings(SYNCLINE_BUDGETS=False):
        service.check(connection)
    assert calls() == {}
