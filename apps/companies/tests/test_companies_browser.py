"""The statistics page in a real browser, under the host's content security policy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from syncline_companies.sample import load

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@contextmanager
def opened(chromium: str, address: str, **settings: Any) -> Iterator[tuple[Page, list[str]]]:
    """The page, and what the browser complained about."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(**settings)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address, wait_until="networkidle")
        yield page, complaints
        browser.close()


@pytest.fixture
def address(live_server: Any) -> str:
    load.load(500)
    return f"{live_server.url}/api/v1/companies/statistics/page/"


INK = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""


def test_charts_are_drawn_nothing_is_blocked_and_phones_are_wide_enough(chromium: str, address: str) -> None:
    with opened(chromium, address) as (page, complaints):
        for name in ("chart-founded", "chart-raised"):
            assert page.locator(f"#{name}").evaluate(INK) > 1_000
        assert page.locator("details[open]").count() == 0
        page.get_by_text("The figures as a table").first.click()
        assert page.locator("details[open] tbody tr").first.is_visible()
        page.set_viewport_size({"width": 360, "height": 740})  # a phone: nothing may need sideways scrolling
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert complaints == []


def test_without_scripts_the_tables_are_open(chromium: str, address: str) -> None:
    with opened(chromium, address, java_script_enabled=False) as (page, _complaints):
        assert page.locator("details[open] tbody tr").count() > 20
        assert page.locator("table").first.is_visible()
        assert not page.locator("canvas").first.is_visible()
