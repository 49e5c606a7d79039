"""The settings of bulk imports on the sync's page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from syncline.models import ObjectSnapshot, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db


def offer(sync: Sync, rows: int, match: list[str]) -> str:
    """The account's object takes so many records in a bulk job; gives the sync's page."""
    snapshot = ObjectSnapshot.objects.get(connection=sync.connection, key=sync.object_type)
    snapshot.content = {**snapshot.content, "bulk_rows": rows, "bulk_match": match}
    snapshot.save()
    return reverse("admin:syncline_sync_change", args=[sync.pk])


@pytest.mark.parametrize(
    ("rows", "match", "shown"), [(0, [], []), (9, [], ["bulk_from"]), (9, ["name"], ["bulk_from", "bulk_match"])]
)
def test_imports_are_offered_where_the_vendor_has_them(
    client: Client, estates: tuple[Estate, Estate], rows: int, match: list[str], shown: list[str]
) -> None:
    ann = estates[0]
    client.force_login(ann.owner)
    page = client.get(offer(ann.sync, rows, match)).content.decode()
    assert [name for name in ("bulk_from", "bulk_match") if f'name="{name}"' in page] == shown
    assert ("First loads" in page) == bool(shown)
