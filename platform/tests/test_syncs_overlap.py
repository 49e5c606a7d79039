"""Two syncs that write the same properties of the same records are pointed out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse
from syncline.models import Sync
from syncline.syncs import overlap, publish

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db


def test_shared_properties_are_named_when_a_mapping_is_published(client: Client, estates: tuple[Estate, Estate]) -> None:
    mine = estates[0].sync
    target = mine.rules.get().target
    other = Sync.objects.create(
        name="The other one", connection=mine.connection, dataset=mine.dataset, object_type=mine.object_type, segment=mine.segment
    )
    other.rules.create(source="email", target=target)
    assert overlap.warning(other) == ""
    client.force_login(estates[0].owner)
    page = reverse("admin:syncline_sync_do", args=[other.pk, "publish"])
    said = client.post(page, follow=True).content.decode()
    assert f"{mine.name} ({target})" in said
    assert "each overwrites the other" in said
    mine.refresh_from_db()
    assert "The other one" in overlap.warning(mine)
    Sync.objects.filter(pk=other.pk).update(enabled=False)
    assert overlap.warning(mine) == ""


def test_other_objects_and_other_properties_are_nobodys_business(estates: tuple[Estate, Estate]) -> None:
    mine, theirs = (estate.sync for estate in estates)
    assert (mine.dataset, mine.object_type) == (theirs.dataset, theirs.object_type)
    publish.publish(theirs, estates[1].owner)
    assert overlap.warning(mine) == ""
