"""Pulls: pages found by values, so that any process can go on from a position and nothing that changes moves the others.

Everything goes by id. What changed goes by date and then by id, because an import dates thousands of records alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from syncline.contract import ObjectType, Page, Permanent, PullRequest, Retryable, UnsupportedFeature

from . import soql
from .client import Client
from .errors import Json
from .merges import merged_into
from .objects import PAGE
from .reading import stamped
from .wire import STAMP, Reader, literal, moment

_POSITION: Final = re.compile(r"(?:(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\|)?([a-zA-Z0-9]{15,18})", re.ASCII)


def pull(client: Client, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
    if request.since and not object_type.pull_since:
        raise UnsupportedFeature(f"Salesforce does not say when {object_type.title} were changed. Pull all of them.")
    if request.archived and not object_type.pull_archived:
        raise UnsupportedFeature(f"Salesforce keeps no deleted {object_type.title}.")
    reader = Reader(object_type, request.properties)
    merged = {} if request.archived else merged_into(client, object_type)
    position = request.position
    while True:
        found = _page(client, object_type, request, position)
        raws = found["records"]
        following = _reached(raws, position, by_date=request.since is not None)
        more = bool(raws) and (len(raws) >= PAGE or not found.get("done"))
        yield Page([reader(raw, merged) for raw in raws], following if more else None)
        if not more:
            return
        position = following


def _page(client: Client, object_type: ObjectType, request: PullRequest, position: str | None) -> Json:
    """An empty page is asked for once more before it is believed: the host would take what is missing for gone."""
    query = _query(object_type, request, position)
    found = client.query(query, deleted=request.archived)
    return found if found["records"] else client.query(query, deleted=request.archived)


def _query(object_type: ObjectType, request: PullRequest, position: str | None) -> str:
    fields = ("Id", *stamped(object_type), *(("IsDeleted",) if request.archived else ()), *request.properties)
    where = ["IsDeleted = TRUE"] if request.archived else []
    where += _of_time(request) + _from(position, by_date=request.since is not None)
    order = f"{STAMP}, Id" if request.since else "Id"
    return soql.select(fields, object_type.key, " AND ".join(where), f"ORDER BY {order} LIMIT {PAGE}")


def _of_time(request: PullRequest) -> list[str]:
    if not request.since:
        return []
    until = [f"{STAMP} <= {literal(request.until)}"] if request.until else []
    return [f"{STAMP} >= {literal(request.since)}", *until]


def _from(position: str | None, *, by_date: bool) -> list[str]:
    """After the last record: its date goes first by itself, so that Salesforce can use its index."""
    if position is None:
        return []
    found = _POSITION.fullmatch(position)
    if not found or bool(found[1]) != by_date:
        raise Permanent(f"“{position[:50]}” is no position in such a pull from Salesforce. Reset the position of this pull.")
    stamp, last = found[1], f"Id > {soql.text(found[2])}"
    return [f"{STAMP} >= {stamp}", f"({STAMP} > {stamp} OR {last})"] if by_date else [last]


def _reached(raws: Sequence[Json], before: str | None, *, by_date: bool) -> str | None:
    """The position after a page; one that is not ahead would be read for ever."""
    if not raws:
        return None
    last = raws[-1] if isinstance(raws[-1], dict) else {}
    at = moment(last.get(STAMP)) if by_date else None
    reached = f"{literal(at)}|{last.get('Id')}" if at else str(last.get("Id"))
    if reached == before or not _POSITION.fullmatch(reached) or (by_date and not at):
        raise Retryable("Salesforce gave a page that leads nowhere. It is asked for again.")
    return reached
