"""Connecting through the admin: proven before it is stored, inherited settings stay inherited, no secret on any page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from syncline.connections import service
from syncline.connections.models import Connection, Grant, Registration
from syncline.models import Entry, Link, Run, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate, staff  # noqa: E402

pytestmark = pytest.mark.django_db

ADD = "/admin/syncline/connection/add/?connector=toy"
CLIENT_SECRET = "client-s3cr3t-canary"
NO_GRANTS = {"grants-TOTAL_FORMS": "0", "grants-INITIAL_FORMS": "0"}


def form(vendor: Any, **changes: str) -> dict[str, str]:
    known = {
        "name": "Mine", "registration": "", "sign_in": "token", "settings-url": vendor.url, "settings-region": "eu",
        "settings-size": "5", "credentials-token-token": vendor.static_token, **NO_GRANTS,
    }  # fmt: skip
    return {**known, **changes}


@pytest.fixture
def ann(client: Client, vendor: Any) -> Client:
    client.force_login(staff("ann", "add_connection"))
    return client


def page_of(connection: Connection) -> str:
    return reverse("admin:syncline_connection_change", args=[connection.pk])


def test_the_first_step_offers_the_connectors_that_work(ann: Client) -> None:
    shown = ann.get("/admin/syncline/connection/add/").content.decode()
    assert "?connector=toy" in shown


def test_a_token_that_works_is_stored_with_its_account(ann: Client, vendor: Any) -> None:
    answer = ann.post(ADD, form(vendor))
    made = Connection.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, page_of(made))
    assert (made.state, made.account_name, made.auth_method) == ("ok", "Toy account", "token")
    assert made.owner.username == "ann"
    assert made.settings == {"url": vendor.url}  # what equals the defaults is not pinned
    assert made.credentials == {"token": vendor.static_token}


def test_a_wrong_token_is_said_and_nothing_is_stored(ann: Client, vendor: Any) -> None:
    shown = ann.post(ADD, form(vendor, **{"credentials-token-token": "wrong-token-canary"})).content.decode()
    assert "401" in shown
    assert "Nothing was saved." in shown
    assert "wrong-token-canary" not in shown
    assert not Connection.objects.exists()


def test_an_account_that_cannot_be_reached_can_be_stored_unchecked(ann: Client, vendor: Any) -> None:
    away = {"settings-url": "http://127.0.0.1:9"}
    assert "Save without checking" in ann.post(ADD, form(vendor, **away)).content.decode()
    ann.post(ADD, form(vendor, **away, unchecked="on"))
    assert Connection.objects.get().state == "new"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"settings-url": ""}, "This field is required."),
        ({"settings-url": "nowhere"}, "Address must be an address such as https://example.com."),
        ({"settings-size": "99"}, "less than or equal to 9"),
        ({"credentials-token-token": ""}, "This field is required."),
        ({"credentials-token-token": "abc"}, "at least 5 characters"),
        ({"name": ""}, "This field is required."),
        ({"sign_in": "oauth"}, "Something was typed for “Token”."),
    ],
)
def test_what_does_not_fit_is_said_at_its_field(ann: Client, vendor: Any, changes: dict[str, str], sentence: str) -> None:
    answer = ann.post(ADD, form(vendor, **changes))
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    assert not Connection.objects.exists()
    assert vendor.calls == []


def test_a_name_can_be_used_once_per_connector(ann: Client, vendor: Any) -> None:
    ann.post(ADD, form(vendor))
    answer = ann.post(ADD, form(vendor))
    assert answer.status_code == 200
    assert Connection.objects.count() == 1


def test_oauth_needs_no_typed_credentials_and_is_begun_by_a_button(ann: Client, vendor: Any) -> None:
    app = Registration.objects.create(connector="toy", name="app", client_id="id", client_secret=CLIENT_SECRET)
    ann.post(ADD, form(vendor, sign_in="oauth", registration=str(app.pk), **{"credentials-token-token": ""}))
    made = Connection.objects.get()
    assert made.state == "new"
    shown = ann.get(page_of(made)).content.decode()
    assert reverse("oauth:start", args=[made.pk]) in shown
    assert "There are no credentials to check yet." in shown


def test_settings_of_the_registration_are_shown_and_not_copied(ann: Client, vendor: Any) -> None:
    app = Registration.objects.create(
        connector="toy", name="app", client_id="id", settings={"url": vendor.url, "region": "us", "size": 3}
    )
    ann.post(ADD, form(vendor, registration=str(app.pk)))
    made = Connection.objects.get()
    Connection.objects.filter(pk=made.pk).update(settings={})
    shown = ann.get(page_of(made)).content.decode()
    assert f'value="{vendor.url}"' in shown
    ann.post(page_of(made), form(vendor, name="New name", registration=str(app.pk), **{
        "settings-region": "us", "settings-size": "4", "credentials-token-token": "",
    }))  # fmt: skip
    made.refresh_from_db()
    assert (made.name, made.settings) == ("New name", {"size": 4})


def test_an_empty_secret_keeps_what_is_stored_and_new_settings_are_proven(ann: Client, vendor: Any) -> None:
    ann.post(ADD, form(vendor))
    made = Connection.objects.get()
    kept = form(vendor, **{"credentials-token-token": "", "settings-size": "7"})
    assert ann.post(page_of(made), kept).status_code == 302
    away = {**kept, "settings-url": "http://127.0.0.1:9"}
    assert "Nothing was saved." in ann.post(page_of(made), away).content.decode()
    made.refresh_from_db()
    assert made.settings == {"url": vendor.url, "size": 7}
    assert made.credentials == {"token": vendor.static_token}
    assert made.state == "ok"


def test_credentials_of_another_account_are_refused(ann: Client, vendor: Any) -> None:
    ann.post(ADD, form(vendor))
    vendor.account = {"id": "77", "name": "Another"}
    shown = ann.post(page_of(Connection.objects.get()), form(vendor)).content.decode()
    assert "Make a new connection for another account." in shown


def test_check_refresh_and_disconnect_are_buttons_and_kept_in_the_history(ann: Client, vendor: Any) -> None:
    ann.post(ADD, form(vendor))
    made = Connection.objects.get()
    LogEntry.objects.all().delete()
    for name, said in (("check", "The connection works"), ("refresh", "1 object new"), ("disconnect", "Disconnected")):
        shown = ann.post(reverse("admin:syncline_connection_do", args=[made.pk, name]), follow=True).content.decode()
        assert said in shown
        entry = LogEntry.objects.order_by("pk").last()
        assert entry is not None
        assert said in entry.change_message
    assert LogEntry.objects.count() == 3
    made.refresh_from_db()
    assert made.credentials is None


def test_a_failing_check_says_why_and_is_shown_as_the_state(ann: Client, vendor: Any) -> None:
    ann.post(ADD, form(vendor))
    made = Connection.objects.get()
    vendor.static_token = "moved-on"
    shown = ann.post(reverse("admin:syncline_connection_do", args=[made.pk, "check"]), follow=True).content.decode()
    assert "reconnect needed" in shown
    assert "401" in shown
    assert not LogEntry.objects.filter(change_message__contains="works").exists()


def test_connecting_at_the_vendors_page_is_kept_in_the_history(ann: Client, vendor: Any) -> None:
    app = Registration.objects.create(connector="toy", name="app", client_id="id", client_secret=CLIENT_SECRET)
    ann.post(ADD, form(vendor, sign_in="oauth", registration=str(app.pk), **{"credentials-token-token": ""}))
    made = Connection.objects.get()
    asked = ann.post(reverse("oauth:start", args=[made.pk]))["Location"]
    shown = ann.get("/oauth/callback/", vendor.give_code(asked), follow=True).content.decode()
    assert "Mine is connected to Toy account." in shown
    assert "Connect again" in shown
    assert LogEntry.objects.filter(object_id=str(made.pk), change_message="Mine is connected to Toy account.").exists()


def test_a_connection_goes_with_its_catalog_unless_syncs_hold_it(client: Client, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    client.force_login(ann.owner)
    page = reverse("admin:syncline_connection_delete", args=[ann.connection.pk])
    client.post(page, {"post": "yes"})
    assert Connection.objects.filter(pk=ann.connection.pk).exists()
    assert "protected" in client.get(page).content.decode()
    Entry.objects.all().delete()
    for model in (Link, Run, Sync):
        model.objects.all().delete()
    assert client.post(page, {"post": "yes"}).status_code == 302
    assert not Connection.objects.filter(pk=ann.connection.pk).exists()


def test_grants_are_given_in_the_form(ann: Client, vendor: Any) -> None:
    ann.post(ADD, form(vendor))
    made = Connection.objects.get()
    friend, group = staff("friend"), Group.objects.create(name="sales")
    sent = form(vendor, **{
        "credentials-token-token": "", "grants-TOTAL_FORMS": "2", "grants-0-user": str(friend.pk), "grants-0-may_run": "on",
        "grants-1-group": str(group.pk),
    })  # fmt: skip
    assert ann.post(page_of(made), sent).status_code == 302
    assert {(g.user, g.group, g.may_run) for g in Grant.objects.all()} == {(friend, None, True), (None, group, False)}
    both = {**sent, "grants-TOTAL_FORMS": "1", "grants-0-group": str(group.pk)}
    assert "Choose either a user or a group." in ann.post(page_of(made), both).content.decode()


def test_a_parked_connection_is_shown_without_its_connector(ann: Client, vendor: Any, admin_client: Client) -> None:
    ann.post(ADD, form(vendor))
    admin_client.post(reverse("admin:syncline_connectorstate_do", args=["toy", "disable"]))
    shown = ann.get(page_of(Connection.objects.get())).content.decode()
    assert "connector missing" in shown
    assert "switched off" in shown
    assert "disabled" in admin_client.get(reverse("admin:syncline_connectorstate_changelist")).content.decode()


def test_a_registration_keeps_its_secret(admin_client: Client, vendor: Any) -> None:
    sent = {
        "name": "app", "client_id": "id", "client_secret": "client-s3cr3t-canary", "settings-url": vendor.url,
        "settings-region": "us", "settings-size": "5",
    }  # fmt: skip
    assert admin_client.post("/admin/syncline/registration/add/?connector=toy", sent).status_code == 302
    made = Registration.objects.get()
    assert made.settings == {"url": vendor.url, "region": "us"}
    page = reverse("admin:syncline_registration_change", args=[made.pk])
    shown = admin_client.get(page).content.decode()
    assert "canary" not in shown
    assert "/oauth/callback/" in shown
    admin_client.post(page, {**sent, "client_secret": "", "name": "renamed"})
    made.refresh_from_db()
    assert made.name == "renamed"
    assert made.client_secret == "client-s3cr3t-canary"


def test_no_page_shows_a_secret(admin_client: Client, estates: tuple[Estate, Estate]) -> None:
    from test_pages_permissions import pages_of

    ann, _ = estates
    Connection.objects.filter(pk=ann.connection.pk).update(state="ok")
    service.save_credentials(ann.connection, "token", {"token": "stored-token-canary"})
    lists = ("connection", "sync", "run", "link", "errorgroup", "objectsnapshot", "connectorstate", "registration")
    pages = [*pages_of(ann), reverse("admin:index"), *(reverse(f"admin:syncline_{name}_changelist") for name in lists)]
    registration = ann.connection.registration
    assert registration is not None
    pages.append(reverse("admin:syncline_registration_change", args=[registration.pk]))
    pages += [f"/api/v1/{name}/" for name in ("connections", "syncs", "runs")]
    for page in pages:
        answer = admin_client.get(page, follow=True)
        assert "canary" not in answer.content.decode(), page
        assert "vault:1:" not in answer.content.decode(), page
