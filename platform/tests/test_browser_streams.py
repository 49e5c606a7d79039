"""Continuous syncs in a real browser: nothing is blocked, what is live changes by itself, a phone scrolls no page sideways."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from syncline.ledger.messages import DeadLetter, Outgoing
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import Run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.browser import beside, opened  # noqa: E402
from messaging.world import World, carried, failed, installed, process  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PHONE = {"width": 375, "height": 740}
BROKER = "No broker of the cluster answered within 10 s (3 were asked). It is tried again."


@pytest.fixture
def world() -> Iterator[World]:
    """One sync that relays, with a shard in trouble, and one that takes in, with dead letters."""
    with installed():
        made = World("ann", "view_workercanary", "view_streamworker")
        mill, barn = process(), process("barn:7:b", "barn", 7312)
        _relaying(made, barn)
        _taking_in(made, mill)
        yield made


def _relaying(world: World, barn: Any) -> None:
    relay = world.relay()
    run = world.kept(relay)
    for shard in ("0", "1", "3"):
        carried(run, barn, shard, rate=41.5, created=18_230, unchanged=1_904, rejected=3)
    failed(run, "2", BROKER)
    for number in range(6):
        world.outgoing(relay, world.event(f"customer-{number}", ago=95 - number), shard=2)
    world.outgoing(relay, world.event("customer-9"), "published", remote_id="2:18230")
    world.outgoing(relay, world.event("customer-8"), "refused", code="too_long", reason="The message is too large for the topic.")
    Sync.objects.filter(pk=relay.pk).update(name="Orders to the topic")


def _taking_in(world: World, mill: Any) -> None:
    stream = world.stream()
    run = world.kept(stream)
    for partition, position, behind in (("0", "18230", 12), ("1", "17904", 0)):
        Checkpoint.objects.create(sync=stream, partition=partition, position=position)
        carried(run, mill, partition, behind=behind, rate=38.2, created=4_100, updated=13_004, unchanged=811, rejected=7)
    Sync.objects.filter(pk=stream.pk).update(name="Seats from the topic")
    world.letter(stream, "0:1712", customer="customer-77", headers={"ce-id": "4:1712", "ce-type": "vendor.order.message"})
    world.letter(
        stream, "1:1804", customer="customer-12", code="unreadable", reason="It is no JSON: Expecting value at byte 0.",
        body=b"\x00\x00\x01\x2aObj\x01" * 20, properties={},
    )  # fmt: skip
    world.letter(stream, "0:1711", customer="customer-3", state="taken")


def pages_of() -> list[str]:
    letters, outgoing = DeadLetter.objects.order_by("pk"), Outgoing.objects.latest("pk")
    return [
        "/admin/",
        "/admin/syncline/sync/",
        *(f"/admin/syncline/sync/{sync.pk}/change/" for sync in Sync.objects.order_by("pk")),
        *(f"/admin/syncline/run/{run.pk}/change/" for run in Run.objects.order_by("pk")),
        "/admin/syncline/deadletter/",
        *(f"/admin/syncline/deadletter/{letter.pk}/change/" for letter in letters),
        "/admin/syncline/outgoing/",
        f"/admin/syncline/inboxevent/{outgoing.event_id}/change/",
    ]


def test_no_page_of_streams_breaks_the_content_security_policy_or_a_phone(chromium: str, live_server: Any, world: World) -> None:
    addresses = pages_of()
    with opened(chromium, live_server, world) as (page, complaints):
        for address in addresses:
            page.goto(address, wait_until="load")
            assert page.locator("h1").first.is_visible(), address
            assert complaints == [], address
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        for address in [one for one in addresses if one.endswith("/change/")]:
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address


def test_what_is_live_changes_by_itself_and_what_is_typed_stays(chromium: str, live_server: Any, world: World) -> None:
    sync = Sync.objects.get(name="Seats from the topic")
    with opened(chromium, live_server, world) as (page, complaints):
        page.goto(f"/admin/syncline/sync/{sync.pk}/change/")
        page.get_by_label("Name").fill("typed meanwhile")
        assert page.get_by_text("18230").first.is_visible()
        beside(lambda: Checkpoint.objects.filter(partition="0").update(position="18999"))
        page.locator(".streaming").get_by_text("18999").wait_for(timeout=10_000)
        assert page.get_by_label("Name").input_value() == "typed meanwhile"
        assert complaints == []


def test_people_decide_without_scripts(chromium: str, live_server: Any, world: World) -> None:
    sync = Sync.objects.get(name="Seats from the topic")
    with opened(chromium, live_server, world, java_script_enabled=False) as (page, complaints):
        page.goto("/admin/syncline/deadletter/")
        page.get_by_role("link", name="0:1712").click()
        page.get_by_role("button", name="Try again").click()
        page.get_by_text("Tried again: 1 taken in").wait_for()
        page.goto(f"/admin/syncline/sync/{sync.pk}/change/")
        page.get_by_role("button", name="Pause", exact=True).click()
        page.get_by_text("It is paused. Resume it").wait_for()
        beside(lambda: Run.objects.get(sync=sync).parts.update(state="queued"))
        page.reload()
        page.get_by_label("Position in partition 1").fill("17000")
        page.get_by_role("button", name="Set").nth(1).click()
        page.get_by_text("partition 1 begins at 17000").wait_for()
        page.get_by_role("button", name="Resume").click()
        page.get_by_text("It goes on where it stood.").wait_for()
        assert complaints == []
