"""Following: Notes tells of changes only when asked, so it is asked again and again what changed since the last one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from syncline.contract import Page, PullRequest, RemoteRecord

PAUSE = 0.5  # seconds; the host wants to hear at least every 5 that all is well


def follow(request: PullRequest, pull: Callable[[PullRequest], Iterable[Page]]) -> Iterator[Page]:
    """A position is the moment of the youngest change; what changed at that very moment comes twice rather than not at all."""
    since = datetime.fromisoformat(request.position) if request.position else datetime.now(UTC)
    given: set[tuple[str, datetime | None]] = set()
    while True:
        asked = replace(request, follow=False, position=None, since=since)
        found = [record for page in pull(asked) for record in page.records]
        new = [record for record in found if (record.id, record.modified_at) not in given]
        given = {(record.id, record.modified_at) for record in found}
        since = youngest(found, since)
        yield Page(new, since.isoformat())
        if not new:
            time.sleep(PAUSE)


def youngest(found: Iterable[RemoteRecord], since: datetime) -> datetime:
    return max([since, *(record.modified_at for record in found if record.modified_at)])
