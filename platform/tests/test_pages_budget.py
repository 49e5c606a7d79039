"""The page of a connection's call allowance: what was used today, by lane, what is left, and what holds it up."""

from __future__ import annotations

import datetime as dt
import re
import sys
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from syncline.connections import budget_overview, budget_scope, effective
from syncline.connections.budget_models import Budget, BudgetUse
from syncline.connections.models import Connection, Grant

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import TOKEN, Estate, staff  # noqa: E402

pytestmark = pytest.mark.django_db


def page_of(connection: Connection) -> str:
    return reverse("admin:syncline_connection_budget", args=[connection.pk])


def text_of(client: Client, connection: Connection) -> str:
    """The words of the page, without its marks."""
    answer = client.get(page_of(connection))
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def budget(connection: Connection, limit: str, **columns: object) -> Budget:
    info = effective.connector_of(connection).info
    declared = next(one for one in info.limits if one.name == limit)
    scope = budget_scope.scopes(connection, info)[limit]
    return Budget.objects.create(scope=scope, connector="toy", limit=limit, window=declared.window, size=declared.size, **columns)


def use(row: Budget, lane: str, calls: int, *, ago: int = 0, refused: int = 0, waited: float = 0.0) -> None:
    day = timezone.now().date() - dt.timedelta(days=ago)
    BudgetUse.objects.create(budget=row, day=day, lane=lane, calls=calls, refused=refused, waited=waited)


@pytest.fixture
def ann(client: Client, estates: tuple[Estate, Estate]) -> Estate:
    client.force_login(estates[0].owner)
    return estates[0]


def test_what_was_used_today_by_lane(client: Client, ann: Estate) -> None:
    row = budget(ann.connection, "calls", learnt_size=90, remaining=None)
    use(row, "backfill", 12_345, refused=2, waited=12_345.0)
    use(row, "interactive", 7, waited=0.7)
    use(row, "backfill", 1_000, ago=1)
    use(row, "backfill", 4_321, ago=30)
    shown = text_of(client, ann.connection)
    assert "90 calls in 10 seconds told by the system; the connector expects 100" in shown
    assert "Backfills 12,345 2 1.00 s" in shown
    assert "People and single records 7 0 0.10 s" in shown
    assert "Schedules 0 0 –" in shown
    assert "1,000" in shown
    assert "4,321" not in shown


def test_what_is_left_of_the_day_and_until_when_it_is_paused(client: Client, ann: Estate) -> None:
    now = timezone.now()
    budget(ann.connection, "daily", remaining=1_500, arrival=now + dt.timedelta(hours=5))
    budget(ann.connection, "calls", paused_until=now + dt.timedelta(minutes=30), refused_at=now)
    answer = client.get(page_of(ann.connection)).content.decode()
    assert '<progress id="left-2" max="5000" value="3500">' in answer
    shown = text_of(client, ann.connection)
    assert "Used of 5,000 3500 used 1,500 left" in shown
    assert f"pause until {now + dt.timedelta(minutes=30):%H:%M:%S}" in shown
    assert "paused by the system" in shown


def test_a_used_up_day_says_what_happens_next(client: Client, ann: Estate) -> None:
    budget(ann.connection, "daily", remaining=0, arrival=timezone.now() + dt.timedelta(hours=5))
    assert "Used up. It is tried again every quarter of an hour" in text_of(client, ann.connection)


def test_before_the_first_call_it_says_what_is_granted(client: Client, ann: Estate) -> None:
    shown = text_of(client, ann.connection)
    assert "100 calls in 10 seconds" in shown
    assert "5,000 calls in a day" in shown
    assert "No call in the last seven days" in shown


def test_the_connections_page_leads_to_it(client: Client, ann: Estate) -> None:
    shown = client.get(reverse("admin:syncline_connection_change", args=[ann.connection.pk])).content.decode()
    assert f'href="{page_of(ann.connection)}"' in shown


def test_only_who_sees_the_connection_sees_it(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, bob = estates
    client.force_login(ann.owner)
    assert client.get(page_of(bob.connection)).status_code == 404
    Grant.objects.create(connection=bob.connection, user=ann.owner)
    assert client.get(page_of(bob.connection)).status_code == 200
    client.logout()
    assert client.get(page_of(bob.connection)).status_code == 302
    client.force_login(staff("carl"))
    assert client.get(page_of(bob.connection)).status_code == 404


def test_it_shows_no_secret_and_nothing_made_of_one(client: Client, ann: Estate) -> None:
    row = budget(ann.connection, "calls")
    answer = client.get(page_of(ann.connection)).content.decode()
    assert TOKEN["token"] not in answer
    assert row.scope not in answer


def test_a_connection_without_its_connector_says_why_there_is_nothing(client: Client, ann: Estate) -> None:
    Connection.objects.filter(pk=ann.connection.pk).update(connector="gone")
    assert "gone" in text_of(client, ann.connection)


def test_use_older_than_a_year_is_forgotten(ann: Estate) -> None:
    row = budget(ann.connection, "calls")
    for ago in (0, 300, 400):
        use(row, "backfill", 1, ago=ago)
    assert budget_overview.forget_old_use() == 1
    assert BudgetUse.objects.count() == 2
