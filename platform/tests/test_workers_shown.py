"""Administrators see which workers there are: on the overview and with `syncline workers`."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags
from rich.console import Console
from syncline import listing
from syncline.runs import workers
from syncline.runs.models import WorkerCanary

pytestmark = pytest.mark.django_db


def overview(client: Client) -> str:
    return " ".join(strip_tags(client.get(reverse("admin:index")).content.decode()).split())


@pytest.fixture
def two() -> None:
    WorkerCanary.objects.create(cluster="one", host="mill", pid=11, restarts=2)
    quiet = timezone.now() - timedelta(hours=2)
    WorkerCanary.objects.create(cluster="two", host="barn", pid=12, started_at=quiet, beat_at=quiet)


def test_the_overview_shows_workers_and_which_of_them_are_silent(admin_client: Client, two: None) -> None:
    shown = overview(admin_client)

    assert "mill works process 11" in shown
    assert "· 2 restarts" in shown
    assert "barn silent process 12" in shown
    assert "last sign of life 2 h 0 min ago" in shown


def test_without_a_worker_the_overview_says_what_to_do(admin_client: Client) -> None:
    assert "No worker is running, so no run goes on. Start one with syncline worker." in overview(admin_client)


def test_who_may_not_see_them_sees_none(client: Client, two: None) -> None:
    client.force_login(User.objects.create_user("looks", is_staff=True))

    assert "mill" not in overview(client)
    assert "Workers" not in overview(client)


def test_the_command_shows_the_same(two: None, capsys: pytest.CaptureFixture[str]) -> None:
    listing.show_workers(workers.listed(), Console(width=150))
    lines = capsys.readouterr().out.splitlines()

    assert [(line.split()[0], line.split()[-1]) for line in lines[1:]] == [("barn", "silent"), ("mill", "works")]


def test_the_command_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    listing.show_workers(workers.listed(), Console(width=150))

    assert "syncline worker" in capsys.readouterr().out
