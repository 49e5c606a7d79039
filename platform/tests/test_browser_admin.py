"""The admin in a real browser: nothing is blocked, it works without scripts, live progress stops by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from syncline.models import FieldRule, Run, RunPart
from syncline.runs.start import start_run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.browser import beside, opened  # noqa: E402
from administering.world import Estate  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def pages_of(one: Estate) -> Iterator[str]:
    yield "/admin/"
    for name in ("connectorstate", "connection", "sync", "run", "link", "errorgroup", "objectsnapshot"):
        yield f"/admin/syncline/{name}/"
    for name, obj in (("connection", one.connection), ("sync", one.sync), ("run", one.run), ("link", one.link)):
        yield f"/admin/syncline/{name}/{obj.pk}/change/"
    yield f"/admin/syncline/sync/{one.sync.pk}/preview/?key={one.owner.pk}"
    yield "/admin/syncline/connection/add/?connector=toy"
    yield f"/admin/syncline/connection/{one.connection.pk}/budget/"
    yield f"/admin/auth/user/{one.link.local_key}/change/"


def test_no_page_breaks_the_content_security_policy(chromium: str, live_server: Any, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    with opened(chromium, live_server, ann) as (page, complaints):
        for address in pages_of(ann):
            page.goto(address, wait_until="networkidle")
            assert page.locator("h1").first.is_visible(), address
            assert complaints == [], address
        page.set_viewport_size({"width": 375, "height": 740})
        page.goto(f"/admin/syncline/run/{ann.run.pk}/change/")
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_progress_is_live_and_stops_by_itself(chromium: str, live_server: Any, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    run = start_run(ann.sync, user=ann.owner)
    with opened(chromium, live_server, ann) as (page, complaints):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/progress/" in request.url else None)
        page.goto(f"/admin/syncline/run/{run.pk}/change/")
        assert page.get_by_text("queued", exact=True).first.is_visible()
        beside(lambda: RunPart.objects.filter(run=run, kind=RunPart.Kind.RANGE).update(read=777))
        page.get_by_text("777", exact=True).first.wait_for(timeout=10_000)
        beside(lambda: Run.objects.filter(pk=run.pk).update(state=Run.State.SUCCEEDED, read=778))
        page.get_by_text("succeeded", exact=True).first.wait_for(timeout=10_000)
        known = len(asked)
        page.wait_for_timeout(4500)
        assert len(asked) == known
        assert complaints == []


def test_a_draft_is_edited_and_published_by_hand(chromium: str, live_server: Any, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    with opened(chromium, live_server, ann) as (page, complaints):
        page.goto(f"/admin/syncline/sync/{ann.sync.pk}/change/")
        page.get_by_role("button", name="Add another Field rule").click()
        page.get_by_label("Rule 2: Field", exact=True).select_option("first_name")
        page.get_by_label("Rule 2: Target").fill("size")
        page.get_by_label("Rule 2: Transforms").fill("trim | upper")
        page.get_by_role("button", name="Save and publish").click()
        page.get_by_text("Published as version 2").wait_for()
        assert complaints == []
    added = FieldRule.objects.get(sync=ann.sync, target="size")
    assert (added.source, added.transforms) == ("first_name", [{"name": "trim"}, {"name": "upper"}])


def test_everything_works_without_scripts(chromium: str, live_server: Any, estates: tuple[Estate, Estate]) -> None:
    ann, _ = estates
    with opened(chromium, live_server, ann, java_script_enabled=False) as (page, complaints):
        page.goto(f"/admin/syncline/connection/{ann.connection.pk}/change/")
        page.get_by_role("button", name="Check", exact=True).click()
        assert page.get_by_text("The connection works").is_visible()
        page.goto(f"/admin/syncline/sync/{ann.sync.pk}/change/")
        page.get_by_label("Rule 2: Field", exact=True).select_option("first_name")
        page.get_by_label("Rule 2: Target").fill("size")
        page.get_by_role("button", name="Save and check draft").click()
        assert page.get_by_text("The draft is in order; it can be published").is_visible()
        page.get_by_role("button", name="Run now").click()
        assert page.get_by_text("is queued").is_visible()
        page.get_by_role("link", name="Refresh").click()
        page.get_by_role("button", name="Cancel this run").click()
        assert page.get_by_text("cancelled", exact=True).first.is_visible()
        assert complaints == []
