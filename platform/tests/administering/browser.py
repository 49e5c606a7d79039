"""A real browser in which somebody is logged in, and what it complained about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.test import Client
from playwright.sync_api import Page, sync_playwright


def beside(work: Callable[[], object]) -> None:
    """Touches the database from another thread: Playwright runs a loop in this one, in which Django refuses to."""

    def carry_out() -> None:
        try:
            work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(carry_out).result()


@contextmanager
def opened(chromium: str, live_server: Any, one: Any, **settings: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page of a browser in which the owner of `one` is logged in, and what the browser complained about."""
    client = Client()
    client.force_login(one.owner)
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(base_url=live_server.url, viewport={"width": 1360, "height": 900}, **settings)
        context.add_cookies([cookie])  # type: ignore[list-item]
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("response", lambda answer: complaints.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
        yield page, complaints
        browser.close()
