"""The host answers, hides what it should, and lets people in by e-mail address."""

from __future__ import annotations

import datetime as dt
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import resolve
from syncline_host import urls


@pytest.mark.django_db
def test_it_tells_that_it_is_well(client: Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_bare_address_leads_to_the_admin(client: Client) -> None:
    assert client.get("/")["Location"] == "/admin/"


@pytest.mark.django_db
def test_every_page_carries_the_content_security_policy(client: Client) -> None:
    policy = client.get("/admin/login/")["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_an_app_s_addresses_at_the_root_of_the_api_come_behind_all_others() -> None:
    routes = [str(one.pattern) for one in cast(list[Any], urls.urlpatterns)]
    own, apps = routes.index("api/v1/"), [n for n, route in enumerate(routes) if re.fullmatch("api/v1/[a-z]+/", route)]
    roots = [n for n, route in enumerate(routes) if route == "api/v1/" and n != own]
    assert roots
    assert min(roots) > max(own, *apps)
    assert resolve("/api/v1/entitlements").url_name == "licensing-entitlement"


@pytest.mark.django_db
def test_a_user_logs_in_by_e_mail_address_whatever_its_case(client: Client) -> None:
    User.objects.create_user("ann", "Ann@Example.com", "correct horse")

    assert client.login(username="ann@example.COM", password="correct horse")
    assert not client.login(username="ann@example.com", password="wrong horse")


@pytest.mark.django_db
def test_an_address_that_two_users_share_logs_nobody_in(client: Client) -> None:
    for name in ("ann", "bob"):
        User.objects.create_user(name, "same@example.com", "correct horse")

    assert not client.login(username="same@example.com", password="correct horse")


@pytest.mark.django_db
def test_an_inactive_user_stays_out(client: Client) -> None:
    User.objects.create_user("ann", "ann@example.com", "correct horse", is_active=False)

    assert not client.login(username="ann@example.com", password="correct horse")


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["2026-11-21 03:24:00+00", "2026-11-21 03:24:00.000123+00", "0044-03-15 12:00:00+00"])
def test_time_stamps_are_read_as_the_stock_loader_reads_them(text: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::timestamptz", [text])
        (read,) = cursor.fetchone()

    assert read == dt.datetime.fromisoformat(text)
    assert read.tzinfo is dt.UTC


def start_settings(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from syncline_host import settings; print(settings.SECRET_KEY, settings.SYNCLINE_KEYS)"],
        env={"PATH": os.environ["PATH"], "SYNCLINE_STATE": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_on_loopback_the_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    first, second = start_settings(tmp_path), start_settings(tmp_path)

    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()} == {
        "secret_key": "0o600",
        "syncline_keys": "0o600",
    }


def test_a_host_that_serves_others_must_bring_its_own_keys(tmp_path: Path) -> None:
    refused = start_settings(tmp_path, ALLOWED_HOSTS="sync.example.com")

    assert refused.returncode != 0
    assert "SECRET_KEY is not set" in refused.stderr
    assert list(tmp_path.iterdir()) == []
