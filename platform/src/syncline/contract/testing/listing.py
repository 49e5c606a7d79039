"""What checks of pulls ask for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from syncline.contract import Capability, Page, PullRequest, RemoteRecord

from .check import expect
from .lab import Lab

PAGES = 3
TICK = dt.timedelta(milliseconds=1)
#: Seconds between the moment asked for and what changes after it; five times the lag, where the system has one.
APART = 0.01


def pulled(lab: Lab, **asked: Any) -> Iterator[Page]:
    """Pages, by default with the properties of the target's records."""
    request = PullRequest(**{"properties": tuple(lab.target.record(0)), **asked})
    return iter(lab.call.pull(session=lab.session(), object_type=lab.object_type, request=request))


def records(lab: Lab, **asked: Any) -> list[RemoteRecord]:
    return [record for page in pulled(lab, **asked) for record in page.records]


def filled(lab: Lab) -> list[str]:
    """Ids of all records, enough for three pages: what is there already counts."""
    lab.object_type  # noqa: B018 - properties are created before anything is listed
    there, wanted = len(records(lab)), (PAGES - 1) * lab.object_type.page_size + 1
    if there < wanted and Capability.PUSH in lab.able:
        lab.filled(wanted - there)
        lab.settle()
    pages = list(pulled(lab))
    expect(
        len(pages) >= PAGES,
        f"The server holds {len(pages)} pages, {PAGES} are needed: fill it, or correct the declared `page_size`.",
    )
    return [record.id for page in pages for record in page.records]


def later(lab: Lab) -> dt.datetime:
    """A moment after every change so far and before every change to come, by the system's clock."""
    [youngest] = lab.created()
    lab.settle()
    known = lab.fetch([youngest]).values() if Capability.FETCH in lab.able else records(lab, properties=())
    moments = [record.modified_at + TICK for record in known if record.modified_at and record.modified_at.tzinfo]
    lab.server.settle(max(APART, 5 * lab.object_type.visibility_lag))
    return max(moments, default=dt.datetime.now(dt.UTC))
