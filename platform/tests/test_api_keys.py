"""Programs use the API by keys: whose rights they have, when they hold no more, and what is kept of them."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from syncline.api import authentication
from syncline.connections import api_keys
from syncline.connections.api_keys import ApiKey
from syncline.models import Connection

pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/connections/"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    authentication.forget()


@pytest.fixture
def user() -> User:
    return User.objects.create_user("shop", is_staff=True)


def issue(user: User, **more: Any) -> str:
    return api_keys.issue(ApiKey(label="the shop", user=user, **more))


def get(text: str, **headers: str) -> Any:
    return Client().get(ADDRESS, headers=headers or {"authorization": f"Api-Key {text}"})


def test_a_key_has_the_rights_of_its_user(user: User) -> None:
    other = User.objects.create_user("other")
    for owner in (user, other):
        Connection.objects.create(connector="x", name=f"of {owner}", owner=owner)
    answer = get(issue(user))
    assert answer.status_code == 200
    assert [one["name"] for one in answer.json()["results"]] == ["of shop"]


def test_it_is_taken_from_either_header_in_any_spelling(user: User) -> None:
    text = issue(user)
    for headers in ({"x-api-key": text}, {"authorization": f"api-key {text}"}, {"authorization": f"Api-Key  {text} "}):
        assert get("", **headers).status_code == 200, headers


@pytest.mark.parametrize("wrong", ["x", "slk", "slk__", "slk_0123456789ab_secret", "slk_é_x", "slk_\udcff", "a" * 5000])
def test_what_is_no_key_is_refused_and_told_what_to_do(user: User, wrong: str) -> None:
    issue(user)
    refused = get(wrong.encode("utf-8", "surrogateescape").decode("latin-1"))
    assert refused.status_code == 401
    assert "Ask an administrator" in refused.json()["detail"]


def test_the_public_part_alone_opens_nothing(user: User) -> None:
    text = issue(user)
    assert get(text[:-1] + ("x" if text[-1] != "x" else "y")).status_code == 401
    assert get(text.rpartition("_")[0]).status_code == 401


def revoked(key: ApiKey) -> None:
    api_keys.revoke(ApiKey.objects.filter(pk=key.pk))


def expired(key: ApiKey) -> None:
    ApiKey.objects.filter(pk=key.pk).update(expires=timezone.now() - dt.timedelta(seconds=1))


def left(key: ApiKey) -> None:
    User.objects.filter(pk=key.user_id).update(is_active=False)


@pytest.mark.parametrize("change", [revoked, expired, left])
def test_it_holds_no_more_within_a_second(user: User, change: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = issue(user)
    assert get(text).status_code == 200
    change(ApiKey.objects.get())
    assert authentication.REMEMBERED <= 1
    monkeypatch.setattr("syncline.inbox.remembered.time.monotonic", lambda: 10**9)
    assert get(text).status_code == 401


def test_an_expiry_holds_to_the_moment_even_of_a_key_that_is_remembered(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    text = issue(user, expires=timezone.now() + dt.timedelta(hours=1))
    assert get(text).status_code == 200
    later = timezone.now() + dt.timedelta(hours=2)
    monkeypatch.setattr("syncline.connections.api_keys.timezone.now", lambda: later)
    assert get(text).status_code == 401


def test_a_reading_key_changes_nothing_and_another_may(user: User) -> None:
    refused = Client().post(f"{ADDRESS}", headers={"x-api-key": issue(user)})
    assert refused.status_code == 403
    assert "may only read" in refused.json()["detail"]
    assert Client().post(f"{ADDRESS}", headers={"x-api-key": issue(user, read_only=False)}).status_code == 405


def test_only_a_digest_is_kept_and_nothing_is_logged(user: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    text = issue(user)
    get(text)
    get(text + "x")
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM syncline_apikey k")
        stored = cursor.fetchone()[0]
    secret = text.split("_", 2)[2]
    assert len(secret) >= 43
    assert secret not in stored
    assert secret not in caplog.text
    assert secret not in repr(authentication._known._known)


def test_its_use_is_noted_but_not_each_time(user: User) -> None:
    text = issue(user)
    get(text)
    first = ApiKey.objects.get().last_used
    assert first
    authentication.forget()
    get(text)
    assert ApiKey.objects.get().last_used == first
    ApiKey.objects.update(last_used=first - dt.timedelta(minutes=2))
    authentication.forget()
    get(text)
    again = ApiKey.objects.get().last_used
    assert again
    assert again > first - dt.timedelta(seconds=1)


class TestPages:
    def make(self, client: Client, **more: Any) -> Any:
        form = {"label": "the shop", "read_only": "on", **more}
        return client.post(reverse("admin:syncline_apikey_add"), form)

    def test_the_key_is_shown_once_and_works(self, user: User) -> None:
        root, client = User.objects.create_superuser("root"), Client()
        client.force_login(root)
        made = self.make(client, user=user.pk)
        assert made.status_code == 200
        assert "no-store" in made["Cache-Control"]
        text = made.content.decode().partition('id="api-key" type="text" readonly value="')[2].partition('"')[0]
        assert text.startswith("slk_")
        assert get(text).status_code == 200
        key = ApiKey.objects.get()
        assert (key.user, key.read_only) == (user, True)
        secret = text.split("_", 2)[2]
        for page in ("changelist", "change"):
            address = reverse(f"admin:syncline_apikey_{page}", args=[key.pk] if page == "change" else [])
            shown = client.get(address, follow=True)
            assert shown.status_code == 200
            assert key.prefix in shown.content.decode()
            assert secret not in shown.content.decode()
        assert secret not in str([*LogEntry.objects.values()])
        assert secret not in str([*client.session.items()])

    def test_whoever_is_no_superuser_makes_keys_for_nobody_else(self, user: User) -> None:
        root, client = User.objects.create_superuser("root"), Client()
        user.user_permissions.add(*Permission.objects.filter(codename__in=["add_apikey", "view_apikey", "change_apikey"]))
        issue(root)
        client.force_login(User.objects.get(pk=user.pk))
        assert self.make(client, user=root.pk).status_code == 200
        assert ApiKey.objects.latest("id").user == user
        assert client.get(reverse("admin:syncline_apikey_changelist")).content.decode().count('class="field-label"') == 1

    def test_keys_are_revoked_and_stay_visible(self, user: User) -> None:
        client, text = Client(), issue(user)
        client.force_login(User.objects.create_superuser("root"))
        key = ApiKey.objects.get()
        told = client.post(
            reverse("admin:syncline_apikey_changelist"), {"action": "revoke", "_selected_action": [key.pk]}, follow=True
        )
        assert "1 revoked" in told.content.decode()
        assert get(text).status_code == 401
        assert "revoked" in client.get(reverse("admin:syncline_apikey_changelist")).content.decode()
        assert client.post(reverse("admin:syncline_apikey_delete", args=[key.pk]), {"post": "yes"}).status_code == 403
        assert LogEntry.objects.filter(object_id=str(key.pk), change_message__contains="Revoked").exists()
