"""Nobody sees or touches another person's connection, whatever the address, and nothing changes by looking."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from syncline.connections.models import Connection, Grant
from syncline.models import Link, Run, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate, staff  # noqa: E402

pytestmark = pytest.mark.django_db

LISTS = ("connection", "sync", "run", "link", "errorgroup", "objectsnapshot", "connectorstate")


def address(name: str, *args: Any) -> str:
    return reverse(f"admin:syncline_{name}", args=args)


def pages_of(one: Estate) -> Iterator[str]:
    """Every address about something of this estate that is looked at."""
    snapshot = one.connection.objects_offered.get()
    objects = {"connection": one.connection, "sync": one.sync, "run": one.run, "link": one.link}
    for model, obj in {**objects, "errorgroup": one.group, "objectsnapshot": snapshot}.items():
        yield address(f"{model}_change", obj.pk)
        yield address(f"{model}_history", obj.pk)
        yield address(f"{model}_delete", obj.pk)
    yield address("sync_preview", one.sync.pk) + f"?key={one.owner.pk}"
    yield address("run_progress", one.run.pk)
    yield address("connection_budget", one.connection.pk)
    yield address("sync_add") + f"?connection={one.connection.pk}"


def actions_of(one: Estate) -> Iterator[str]:
    for model, obj, names in (
        ("connection", one.connection, ("check", "refresh", "disconnect")),
        ("sync", one.sync, ("suggest", "create-properties", "publish", "run", "retry")),
        ("run", one.run, ("cancel",)),
        ("link", one.link, ("link", "unlink", "look-again")),
    ):
        for name in names:
            yield address(f"{model}_do", obj.pk, name)
    yield reverse("oauth:start", args=[one.connection.pk])
    yield from (address(f"{model}_change", obj.pk) for model, obj in (("connection", one.connection), ("sync", one.sync)))
    yield from (address(f"{model}_delete", obj.pk) for model, obj in (("connection", one.connection), ("sync", one.sync)))


def footprint() -> tuple[Any, ...]:
    """Everything that an action could have changed."""
    return (
        list(Connection.objects.order_by("pk").values_list("pk", "name", "state", "token_version", "checked_at")),
        list(Sync.objects.order_by("pk").values_list("pk", "name", "current")),
        list(Run.objects.order_by("pk").values_list("pk", "state")),
        list(Link.objects.order_by("pk").values_list("pk", "revision", "remote_id")),
        LogEntry.objects.count(),
    )


def test_ann_cannot_read_what_is_bobs(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, bob = estates
    client.force_login(ann.owner)
    for page in pages_of(bob):
        answer = client.get(page)
        shown = answer.content.decode()
        assert answer.status_code in {302, 403, 404} or "choose the connection" in shown, page
        assert bob.marker not in shown, page


def test_ann_cannot_act_on_what_is_bobs(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, bob = estates
    client.force_login(ann.owner)
    before = footprint()
    for page in actions_of(bob):
        answer = client.post(page, {"confirmed": "yes", "post": "yes", "name": "stolen", "remote_id": "1"})
        assert answer.status_code in {302, 403, 404}, page
        if answer.status_code == 302:
            assert answer["Location"] == reverse("admin:index"), page
        assert footprint() == before, page


@pytest.mark.parametrize("model", LISTS)
def test_lists_and_their_filters_hold_only_ones_own(client: Client, estates: tuple[Estate, Estate], model: str) -> None:
    ann, bob = estates
    client.force_login(ann.owner)
    for query in ("", f"?connection={bob.connection.pk}", f"?q={bob.link.local_key}", f"?sync={bob.sync.pk}"):
        shown = client.get(address(f"{model}_changelist") + query, follow=True).content.decode()
        assert bob.marker not in shown.replace(f'value="{bob.marker}', ""), query


def test_the_overview_and_the_record_panel_hold_only_ones_own(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, bob = estates
    client.force_login(ann.owner)
    assert bob.marker not in client.get(reverse("admin:index")).content.decode()
    page = client.get(reverse("admin:auth_user_change", args=[bob.link.local_key])).content.decode()
    assert "Where did this record go?" in page
    assert f"{ann.marker}connection" in page
    assert f"{bob.marker}connection" not in page


def test_a_superuser_sees_both(admin_client: Client, estates: tuple[Estate, Estate]) -> None:
    for one in estates:
        for page in pages_of(one):
            assert admin_client.get(page).status_code in {200, 286, 302, 403}, page  # nobody deletes a run or a link
        assert one.marker in admin_client.get(address("connection_changelist")).content.decode()
        assert one.marker in admin_client.get(address("link_changelist")).content.decode()


@pytest.mark.parametrize("may_run", [False, True])
def test_a_grant_shows_and_only_one_to_run_runs(client: Client, estates: tuple[Estate, Estate], may_run: bool) -> None:
    ann, bob = estates
    Grant.objects.create(connection=bob.connection, user=ann.owner, may_run=may_run)
    client.force_login(ann.owner)
    assert client.get(address("sync_change", bob.sync.pk)).status_code == 200
    assert client.get(address("connection_change", bob.connection.pk)).status_code == 200

    answers = {page: client.post(page).status_code for page in actions_of(bob)}
    runnable = {
        *(address("sync_do", bob.sync.pk, name) for name in ("run", "retry")),
        *(address("connection_do", bob.connection.pk, name) for name in ("check", "refresh")),
        address("run_do", bob.run.pk, "cancel"),
        address("link_do", bob.link.pk, "look-again"),
    }
    oauth = reverse("oauth:start", args=[bob.connection.pk])  # says so in a message
    allowed = {page for page, status in answers.items() if status != 403} - {oauth}
    assert allowed == (runnable if may_run else set())
    bob.connection.refresh_from_db()
    assert bob.connection.credentials
    assert Run.objects.filter(sync=bob.sync, requested_by=ann.owner).exists() is may_run


def test_those_who_may_only_look_find_no_buttons_and_no_grants(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, bob = estates
    Grant.objects.create(connection=bob.connection, user=ann.owner)
    client.force_login(ann.owner)
    page = client.get(address("connection_change", bob.connection.pk)).content.decode()
    assert "Disconnect" not in page
    assert "grants-TOTAL_FORMS" not in page
    sync = client.get(address("sync_change", bob.sync.pk)).content.decode()
    assert "rules-TOTAL_FORMS" not in sync
    assert "ask the connection’s owner for a grant to run" in sync
    assert "Always; an empty value clears the property" in sync  # the mapping as a table


def test_actions_answer_to_post_only(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    client.force_login(ann.owner)
    before = footprint()
    for page in actions_of(ann):
        if "/do/" in page or "oauth" in page:
            assert client.get(page).status_code == 405, page
    assert footprint() == before


def test_actions_want_the_token_of_the_form(estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ann.owner)
    for page in actions_of(ann):
        assert strict.post(page).status_code == 403, page


def test_those_without_access_to_the_admin_are_sent_to_the_log_in(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    User.objects.create_user("guest", password="correct horse")
    for name in (None, "guest"):
        if name:
            client.force_login(User.objects.get(username=name))
        for page in (*pages_of(ann), address("connectorstate_changelist"), address("connection_changelist")):
            answer = client.get(page)
            assert answer.status_code == 302, page
            assert "/login/" in answer["Location"], page


def test_the_connector_switch_asks_for_its_permission(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    page = address("connectorstate_do", "toy", "disable")
    client.force_login(ann.owner)
    assert client.post(page).status_code == 403
    client.force_login(staff("keeper", "change_connectorstate"))
    assert client.get(page).status_code == 405
    assert client.post(page).status_code == 302
    ann.connection.refresh_from_db()
    assert ann.connection.state == "missing"
    client.post(address("connectorstate_do", "toy", "enable"))
    ann.connection.refresh_from_db()
    assert ann.connection.state == "ok"
    assert LogEntry.objects.filter(change_message__contains="switched o").count() == 2


def test_registrations_follow_djangos_permissions(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    client.force_login(ann.owner)
    assert client.get(address("registration_changelist")).status_code == 403
    assert client.get(address("registration_add")).status_code == 403
