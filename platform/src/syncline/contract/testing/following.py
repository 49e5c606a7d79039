"""Pages of a pull that follows: read by another thread, because such a pull may keep silent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from syncline.contract import Page, RemoteRecord

from .check import Breach, attempt, expect, told
from .patience import within

SILENT = 5.0  # seconds without a page
SLACK = 2.0
CHANGE = 10.0  # seconds until a change must be there


class Followed:
    """`pull` makes the call: a connector that reads all pages before it gives one does not even come back from that."""

    def __init__(self, pull: Callable[[], Iterable[Page]]) -> None:
        self._pull, self.position = pull, ""
        self._pages: Iterator[Page] | None = None

    def page(self) -> Page:
        silent = f"Followed, `pull` gave no page for {SILENT + SLACK:.0f} s: empty pages say that it is alive."
        page = within(SILENT + SLACK, self._next, silent)
        if page is None:
            raise Breach("Followed, `pull` came to an end.")
        if isinstance(page, Exception):
            raise Breach(f"Followed, `pull` ended in {told(page)}.")
        expect(
            page.position and isinstance(page.position, str), f"A page of what is followed has no position: {page.position!r}."
        )
        self.position = str(page.position)
        return page

    def until(self, wanted: Callable[[RemoteRecord], bool], what: str) -> None:
        """Reads on until a record fits; the page's position is after it."""
        end = time.monotonic() + CHANGE
        while time.monotonic() < end:
            if any(wanted(record) for record in self.page().records):
                return
        raise Breach(f"Followed for {CHANGE:.0f} s, `pull` did not give {what}.")

    def close(self) -> None:
        attempt(getattr(self._pages, "close", bool))

    def _next(self) -> Page | None:
        if self._pages is None:
            self._pages = iter(self._pull())
        return next(self._pages, None)
