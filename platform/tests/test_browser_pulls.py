"""Pulls in a real browser: nothing is blocked, a phone scrolls no page sideways, decisions work without scripts."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs import execute
from syncline.runs.models import Run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.browser import beside, opened  # noqa: E402
from pulling.world import World  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PHONE = {"width": 375, "height": 740}


@pytest.fixture
def world(world: World) -> World:
    """Two syncs: one that pulls, with records for review, and one that goes both ways, with conflicts."""
    _conflicts(world)
    _arrivals(world)
    return world


def _conflicts(world: World) -> None:
    ids = [world.vendor.seed("people", name=f"Person {n}", email=f"person{n}@example.org", city="Hamburg") for n in range(3)]
    sync = world.pulling("two_way", cron="0 3 * * *", changes_cron="*/5 * * * *")
    world.run(sync)
    User.objects.filter(is_staff=False).update(last_name="Altona, since the move of the head office")
    for id_ in ids:
        world.vendor.edit(id_, city="Bremen")
    world.run(sync)


def _arrivals(world: World) -> None:
    for n in range(3):
        for twin in "ab":
            User.objects.create(username=f"u{n}{twin}", first_name=f"Kim {n}{twin}", email=f"kim{n}@example.org")
        world.vendor.seed("people", name=f"Kim Larsen {n}", email=f"kim{n}@example.org", city="Aarhus")
    world.vendor.seed("people", name="long", email="long@example.org", city="Aarhus")
    ids = [world.vendor.seed("people", name=f"Guest {n}", email=f"guest{n}@example.org", city="Ulm") for n in range(45)]
    sync = world.pulling(mode="mirror", delete_policy="delete")
    world.run(sync)
    for id_ in ids[:30]:
        world.vendor.archive(id_)
    world.run(sync)


def drained() -> None:
    while Run.objects.filter(state__in=Run.ACTIVE).exists():
        execute.work(20)


def asked(what: Callable[[], Any]) -> Any:
    """What the database answers, beside the browser's loop."""
    found: list[Any] = []
    beside(lambda: found.append(what()))
    return found[0]


def pages_of() -> list[str]:
    conflict, arrival, runs = Conflict.objects.latest("pk"), Arrival.objects.earliest("pk"), Run.objects.order_by("pk")
    pull, two_way = runs.filter(sync__direction="pull"), runs.filter(sync__direction="two_way")
    return [
        "/admin/",
        "/admin/syncline/arrival/",
        f"/admin/syncline/arrival/{arrival.pk}/change/",
        "/admin/syncline/conflict/",
        f"/admin/syncline/conflict/{conflict.pk}/change/",
        f"/admin/syncline/link/{conflict.link_id}/change/",
        f"/admin/syncline/run/{pull.last().pk}/change/",  # type: ignore[union-attr]
        f"/admin/syncline/run/{two_way.last().pk}/change/",  # type: ignore[union-attr]
        "/admin/syncline/run/",
        "/admin/syncline/sync/",
        f"/admin/syncline/sync/{pull.last().sync_id}/change/",  # type: ignore[union-attr]
        f"/admin/syncline/sync/{two_way.last().sync_id}/change/",  # type: ignore[union-attr]
        f"/admin/syncline/sync/{pull.last().sync_id}/preview/?key={arrival.remote_id}",  # type: ignore[union-attr]
    ]


def test_no_page_of_pulls_breaks_the_content_security_policy_or_a_phone(chromium: str, live_server: Any, world: World) -> None:
    addresses = pages_of()
    with opened(chromium, live_server, world) as (page, complaints):
        for address in addresses:
            page.goto(address, wait_until="networkidle")
            assert page.locator("h1").first.is_visible(), address
            assert complaints == [], address
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        for address in [one for one in addresses if one.endswith("/change/")]:
            page.goto(address)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], address


def test_people_decide_without_scripts(chromium: str, live_server: Any, world: World) -> None:
    with opened(chromium, live_server, world, java_script_enabled=False) as (page, complaints):
        page.goto("/admin/syncline/conflict/")
        page.get_by_role("button", name="Theirs holds: city").first.click()
        page.get_by_text("city: Theirs holds").wait_for()
        page.get_by_role("link", name="Person").first.click()
        page.get_by_role("button", name="Ours holds: write it there").click()
        page.get_by_text("city: Ours holds").wait_for()
        beside(drained)
        assert asked(Conflict.objects.filter(decided_at=None).count) == 1

        page.goto("/admin/syncline/arrival/")
        page.get_by_role("link", name="Kim Larsen 0").click()
        page.get_by_role("button", name="Create it here as a record of its own").click()
        page.get_by_text("It becomes a record of its own here").wait_for()
        beside(drained)
        page.goto("/admin/syncline/arrival/")
        assert page.get_by_text("Kim Larsen 0").count() == 0
        for box in page.locator("input.action-select").all():
            box.check()
        page.locator("select[name=action]").select_option("try_again_all")
        page.get_by_role("button", name="Go", exact=True).click()
        page.get_by_text("are being fetched again").wait_for()
        assert complaints == []
