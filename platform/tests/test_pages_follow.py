"""The page of a sync that follows another: choosing it, what is refused, and how the list shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from syncline.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, estates: tuple[Estate, Estate]) -> Estate:
    client.force_login(estates[0].owner)
    return estates[0]


@pytest.fixture
def follower(ann: Estate) -> Sync:
    return Sync.objects.create(
        name="People after things", connection=ann.sync.connection, dataset="test.user", object_type="things"
    )


def posted(client: Client, sync: Sync, **changes: str) -> str:
    rules = {
        "rules-TOTAL_FORMS": "0",
        "rules-INITIAL_FORMS": "0",
        "match_steps-TOTAL_FORMS": "0",
        "match_steps-INITIAL_FORMS": "0",
    }
    given = {
        field: str(getattr(sync, field)) for field in ("name", "mode", "gone_policy", "drift_policy", "delete_policy", "cron")
    }
    page = reverse("admin:syncline_sync_change", args=[sync.pk])
    return client.post(page, {**given, "enabled": "on", **rules, "_continue": "1", **changes}, follow=True).content.decode()


def test_a_follower_is_chosen_from_its_connection_and_says_after_whom(
    client: Client, ann: Estate, follower: Sync, estates: tuple[Estate, Estate]
) -> None:
    shown = posted(client, follower, follows=str(ann.sync.pk))
    follower.refresh_from_db()
    assert follower.follows == ann.sync
    assert f"after each whole run of {ann.sync.name}" in shown
    assert estates[1].sync.name not in shown
    listed = client.get(reverse("admin:syncline_sync_changelist")).content.decode()
    assert f"after {ann.sync.name}" in listed


def test_a_schedule_beside_it_and_a_circle_are_refused_in_a_sentence(client: Client, ann: Estate, follower: Sync) -> None:
    refused = posted(client, follower, follows=str(ann.sync.pk), cron="0 4 * * *")
    assert "it has no schedule of its own" in refused
    Sync.objects.filter(pk=ann.sync.pk).update(follows=follower, cron="")
    refused = posted(client, follower, follows=str(ann.sync.pk))
    assert "These syncs would wait for each other" in refused
    follower.refresh_from_db()
    assert follower.follows is None


def test_a_sync_of_another_connection_cannot_be_chosen(
    client: Client, ann: Estate, follower: Sync, estates: tuple[Estate, Estate]
) -> None:
    assert "Select a valid choice" in posted(client, follower, follows=str(estates[1].sync.pk))
    follower.refresh_from_db()
    assert follower.follows is None
