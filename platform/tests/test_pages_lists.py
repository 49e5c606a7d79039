"""Every list, and the overview, costs the same number of queries for few rows and for many; so does a page with its rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from syncline.connections.models import Connection, Grant, Registration
from syncline.models import Entry, FieldRule, ObjectSnapshot

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate, staff  # noqa: E402

pytestmark = pytest.mark.django_db


def queries(client: Client, page: str) -> int:
    client.get(page)  # fills what is cached
    with CaptureQueriesContext(connection) as seen:
        assert client.get(page).status_code in {200, 286}
    return len(seen)


def more_connections(one: Estate) -> None:
    for number in range(10):
        made = Connection.objects.create(
            connector="toy", name=f"more {number}", owner=staff(f"owner{number}"), state="reconnect", state_reason="why"
        )
        Grant.objects.create(connection=made, user=one.owner)
        content = one.connection.objects_offered.get().content
        ObjectSnapshot.objects.create(
            connection=made, key="k", title=f"T{number}", content=content, digest="", discovered_at=one.run.created_at
        )
        Registration.objects.create(connector="toy", name=f"app {number}")


GROWING: dict[str, tuple[Callable[[Estate], Any], int]] = {
    "connection_changelist": (more_connections, 8),
    "objectsnapshot_changelist": (more_connections, 8),
    "registration_changelist": (more_connections, 8),
    "sync_changelist": (lambda one: one.more_syncs(10), 8),
    "run_changelist": (lambda one: one.more_runs(10), 9),
    "link_changelist": (lambda one: one.more_links(10), 10),
    "errorgroup_changelist": (lambda one: one.more_runs(10), 8),
    "connectorstate_changelist": (more_connections, 6),
}


@pytest.mark.parametrize("name", GROWING)
@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_a_list_costs_the_same_for_few_rows_and_for_many(
    client: Client, admin_user: Any, estates: tuple[Estate, Estate], name: str, who: str
) -> None:
    ann, _ = estates
    grow, most = GROWING[name]
    if name.startswith("registration") and who == "owner":
        ann.owner.user_permissions.add(*_permissions("view_registration"))
    client.force_login(ann.owner if who == "owner" else admin_user)
    page = reverse(f"admin:syncline_{name}")
    few = queries(client, page)
    grow(ann)
    assert queries(client, page) == few
    assert few <= most + 2  # session and user


def _permissions(name: str) -> Any:
    from django.contrib.auth.models import Permission

    return Permission.objects.filter(codename=name)


def test_the_overview_costs_the_same_for_few_runs_and_for_many(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    client.force_login(ann.owner)
    few = queries(client, reverse("admin:index"))
    ann.more_runs(6)
    ann.more_syncs(6)
    ann.more_links(6)
    assert queries(client, reverse("admin:index")) == few


def test_pages_cost_the_same_for_few_rows_and_for_many(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    client.force_login(ann.owner)
    sync, run = (reverse(f"admin:syncline_{name}_change", args=[obj.pk]) for name, obj in (("sync", ann.sync), ("run", ann.run)))
    link = reverse("admin:syncline_link_change", args=[ann.link.pk])
    connection_page = reverse("admin:syncline_connection_change", args=[ann.connection.pk])
    panel = reverse("admin:auth_user_change", args=[ann.link.local_key])
    few = [queries(client, page) for page in (sync, run, link, connection_page, panel)]
    for number in range(8):
        FieldRule.objects.create(sync=ann.sync, source="email", target=f"t{number}", position=9)
        Entry.objects.create(link_id=ann.link.pk, run_id=ann.run.pk, op="update", status="updated")
        Grant.objects.create(connection=ann.connection, user=staff(f"friend{number}"))
    ann.more_runs(8)
    assert [queries(client, page) for page in (sync, run, link, connection_page, panel)] == few


def test_the_api_costs_the_same_for_few_rows_and_for_many(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    client.force_login(ann.owner)
    pages = [f"/api/v1/{name}/" for name in ("connections", "syncs", "runs")]
    few = [queries(client, page) for page in pages]
    more_connections(ann)
    ann.more_syncs(5)
    ann.more_runs(5)
    assert [queries(client, page) for page in pages] == few
