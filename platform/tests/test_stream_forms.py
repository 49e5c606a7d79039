"""Continuous syncs in the forms: a log needs few questions, and each way to a dead end is refused with a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from syncline.connections.models import Grant
from syncline.runs.models import Run
from syncline.runs.stream.keeping import Keeper
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from messaging.world import World, installed, staff  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, db: None) -> Iterator[World]:
    with installed():
        made = World()
        client.force_login(made.owner)
        yield made


def page(sync: Sync) -> str:
    return reverse("admin:syncline_sync_change", args=[sync.pk])


def add(client: Client, world: World, **given: Any) -> Any:
    address = f"{reverse('admin:syncline_sync_add')}?connection={world.log.pk}"
    return client.post(address, {"name": "N", "mode": "upsert", **given})


def said(answer: Any) -> str:
    return str(answer.context["adminform"].form.errors)


def do(client: Client, sync: Sync, name: str, **data: str) -> str:
    return client.post(reverse("admin:syncline_sync_do", args=[sync.pk, name]), data, follow=True).content.decode()


def begun(sync: Sync) -> list[tuple[str, str]]:
    Keeper().look()
    run = Run.objects.get(sync=sync, kind="stream")
    return sorted(run.parts.values_list("kind", "partition"))


def test_the_inbox_to_a_topic_is_chosen_published_and_begins(client: Client, ann: World) -> None:
    answer = add(client, ann, dataset="syncline.inbox", object_type="seats", source=ann.vendor.pk)
    assert answer.status_code == 302, said(answer)
    sync = Sync.objects.get(name="N")
    assert answer["Location"] == page(sync)
    assert (sync.continuous, sync.direction, sync.source) == (True, "push", ann.vendor)
    assert list(sync.rules.values_list("source", "target")) == [("data", "$")]
    assert "Published as version 1" in do(client, sync, "publish")
    assert begun(sync) == [("relay", str(shard)) for shard in range(4)]


def test_a_topic_into_records_is_chosen_published_and_begins(client: Client, ann: World) -> None:
    add(client, ann, dataset="test.seat", object_type="seats", direction="push", source=ann.vendor.pk)
    sync = Sync.objects.get(name="N")
    assert (sync.continuous, sync.direction, sync.source) == (True, "pull", None)
    assert "The draft is in order" in client.get(page(sync)).content.decode()
    assert "Published as version 1" in do(client, sync, "publish")
    assert begun(sync) == [("stream", "0"), ("stream", "1")]


def test_the_suggested_mapping_can_be_asked_for_again(client: Client, ann: World) -> None:
    sync = ann.relay()
    sync.rules.all().delete()
    assert "The draft is now the suggested mapping: 1 rules." in do(client, sync, "suggest")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dataset": "syncline.inbox", "object_type": "seats"}, "Say whose messages are passed on."),
        ({"dataset": "syncline.inbox", "object_type": "plain", "source": "own"}, "which only go to a log"),
        ({"dataset": "test.state", "object_type": "seats"}, "States takes no messages, and Seats is a log."),
        ({"dataset": "syncline.inbox", "object_type": "seats", "source": "bobs"}, "Select a valid choice"),
    ],
)
def test_what_leads_nowhere_is_refused_before_it_is_made(
    client: Client, ann: World, given: dict[str, str], sentence: str
) -> None:
    source = {"own": ann.vendor.pk, "bobs": World("bob").vendor.pk if given.get("source") == "bobs" else 0}
    asked = {name: source[value] if name == "source" else value for name, value in given.items()}
    assert sentence in said(add(client, ann, **asked)).replace("&#x27;", "'")
    assert not Sync.objects.filter(name="N").exists()


def test_messages_of_a_connection_that_may_only_be_looked_at_are_not_offered(client: Client, ann: World) -> None:
    bob = World("bob")
    Grant.objects.create(connection=bob.vendor, user=ann.owner)
    address = f"{reverse('admin:syncline_sync_add')}?connection={ann.log.pk}"
    assert "bobs-vendor" not in client.get(address).content.decode()
    Grant.objects.update(may_run=True)
    assert "bobs-vendor" in client.get(address).content.decode()


def test_where_no_log_is_offered_the_inbox_is_not_either(client: Client, ann: World) -> None:
    ann.log.objects_offered.filter(key="seats").delete()
    shown = client.get(f"{reverse('admin:syncline_sync_add')}?connection={ann.log.pk}").content.decode()
    assert "syncline.inbox" not in shown
    assert "Messages of" not in shown


def fields(client: Client, sync: Sync) -> set[str]:
    return set(client.get(page(sync)).context["adminform"].form.fields)


def test_logs_are_not_asked_what_only_records_have(client: Client, ann: World) -> None:
    assert fields(client, ann.relay()) == {"name", "filter", "drift_policy", "source", "continuous", "enabled"}
    assert fields(client, ann.stream()) == {"name", "filter", "drift_policy", "continuous", "enabled"}
    shown = client.get(page(Sync.objects.latest("pk"))).content.decode()
    assert "match steps" not in shown
    assert "Run now" not in shown


def test_records_that_can_be_followed_may_be_pulled_continuously_and_lose_their_schedule(client: Client, ann: World) -> None:
    sync = Sync.objects.create(
        name="S", connection=ann.log, dataset="test.state", object_type="accounts", direction="pull", cron="0 3 * * *"
    )
    assert "continuous" in fields(client, sync)
    given = {
        "name": "S", "direction": "pull", "mode": "upsert", "delete_policy": "ignore", "drift_policy": "suspend",
        "cron": "0 3 * * *", "continuous": "on", "enabled": "on", "rules-TOTAL_FORMS": "0", "rules-INITIAL_FORMS": "0",
        "match_steps-TOTAL_FORMS": "0", "match_steps-INITIAL_FORMS": "0",
    }  # fmt: skip
    assert client.post(page(sync), given).status_code == 302
    sync.refresh_from_db()
    assert (sync.continuous, sync.cron, sync.next_due_at) == (True, "", None)
    assert {"cron", "changes_cron", "follows"}.isdisjoint(fields(client, sync))


def test_records_that_are_pushed_or_cannot_be_followed_are_not_offered_it(client: Client, ann: World) -> None:
    for object_type, direction in (("accounts", "push"), ("plain", "pull")):
        sync = Sync.objects.create(
            name="S", connection=ann.log, dataset="test.state", object_type=object_type, direction=direction
        )
        assert {"continuous", "source"}.isdisjoint(fields(client, sync)), object_type


def test_another_source_is_only_one_that_the_owner_may_use(client: Client, ann: World) -> None:
    sync, bob = ann.relay(), World("bob")
    boss = staff("boss")
    boss.is_superuser = True
    boss.save()
    client.force_login(boss)
    given = {
        "name": "S", "drift_policy": "suspend", "continuous": "on", "enabled": "on", "source": str(bob.vendor.pk),
        "rules-TOTAL_FORMS": "0", "rules-INITIAL_FORMS": "0",
    }  # fmt: skip
    assert "ann may not use bobs-vendor" in said(client.post(page(sync), given))
    assert client.post(page(sync), {**given, "source": str(ann.vendor.pk)}).status_code == 302


def test_the_preview_shows_only_messages_that_the_sync_would_pass_on(client: Client, ann: World) -> None:
    sync, bob = ann.relay(), World("bob")
    mine, foreign = ann.event("c-1"), bob.event("c-2")
    address = reverse("admin:syncline_sync_preview", args=[sync.pk])
    shown = client.get(address).content.decode()
    assert f"?key={mine.pk}" in shown
    assert f"?key={foreign.pk}" not in shown
    assert "c-1" in client.get(f"{address}?key={mine.pk}").content.decode()
    assert "There is no message" in client.get(f"{address}?key={foreign.pk}").content.decode()
