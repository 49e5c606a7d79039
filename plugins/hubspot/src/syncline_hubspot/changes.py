"""What changed since a moment: a search by the date of modification, then a listing of the newest records.

The search is paged by id and never by offset, so that any number of records may share one date, and stays far below the
10,000 results where HubSpot's searches end. Its index lags behind by up to 40 seconds. Lists do not lag, but they know no
dates: they are read from the youngest record on that search is certain to know. That finds every new record as long as ids
grow, which they were always seen to do and which HubSpot does not promise. A change of an older record within the lag is
found by the next pull.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Final

from syncline.contract import ObjectType, Page, Permanent, PullRequest, Retryable, UnsupportedFeature

from .client import Client, following
from .errors import Json
from .listing import completed, listed
from .wire import with_merged

PAGE: Final = 200
WALL: Final = 10_000
SKEW: Final = 60.0  # seconds by which HubSpot's clock and ours may differ
SOON: Final = 3  # pages of the newest records for somebody who waits
NEW: Final = "new:"


def modified(object_key: str) -> str:
    """Name of the property that holds when a record was last changed."""
    return "lastmodifieddate" if object_key == "contacts" else "hs_lastmodifieddate"


def pull(client: Client, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
    position = request.position or ""
    if not position.startswith(NEW):
        yield from _changed(client, object_type, request, position)
        position = NEW + _youngest_known(client, object_type, request)
    yield from _newest(client, object_type, request, position.removeprefix(NEW))


def _changed(client: Client, object_type: ObjectType, request: PullRequest, position: str) -> Iterator[Page]:
    last, offset = _place(position)
    total = None
    while True:
        answer = _search(client, object_type.key, _query(object_type, request, last, offset))
        raws, total = answer.get("results") or [], answer["total"] if total is None else total
        more = following(answer)
        last, offset = (_reached(raws, last), 0) if raws else (last, offset + PAGE)
        if more and offset + PAGE > WALL:
            raise UnsupportedFeature("HubSpot's search counts thousands of archived records in a row, which it does not show.")
        if raws or more:  # else it is the place where reading began, and whoever is there a second time has gone astray
            yield Page(completed(client, object_type, raws, request), f"{last}+{offset if more else 0}", total)
        if not more:
            return


def _place(position: str) -> tuple[int, int]:
    last, plus, offset = (position or "0+0").partition("+")
    if not (plus and last.isascii() and offset.isascii() and last.isdigit() and offset.isdigit()):
        raise Permanent(f"“{position[:50]}” is no position in a search of HubSpot. Reset the position of this pull.")
    return int(last), int(offset)


def _reached(raws: Sequence[Json], last: int) -> int:
    """The highest id of a page; one that does not go on from the last would be read for ever, or leave records out."""
    ids = [int(raw["id"]) for raw in raws if isinstance(raw, dict) and str(raw.get("id", "")).isdigit()]
    if len(ids) != len(raws) or any(after <= before for before, after in zip((last, *ids), ids, strict=False)):
        raise Retryable("HubSpot's search gave records out of order, twice or without an id. It is asked again.")
    return ids[-1]


def _query(object_type: ObjectType, request: PullRequest, last: int, offset: int) -> Json:
    since = _milliseconds(request.since or dt.datetime.fromtimestamp(0, dt.UTC))
    when: Json = {"propertyName": modified(object_type.key), "operator": "GTE", "value": since}
    if request.until:
        when |= {"operator": "BETWEEN", "highValue": _milliseconds(request.until)}
    filters = [when, {"propertyName": "hs_object_id", "operator": "GT", "value": str(last)}]
    if request.unkeyed and object_type.unique_key:
        filters.append({"propertyName": object_type.unique_key, "operator": "NOT_HAS_PROPERTY"})
    return {
        "filterGroups": [{"filters": filters}],
        "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
        "properties": with_merged(request.properties),
        "limit": PAGE,
        **({"after": str(offset)} if offset else {}),
    }


def _search(client: Client, key: str, query: Json) -> Json:
    """Hits that are counted and not shown were archived a moment ago, or the answer is one of HubSpot's hollow ones: it is asked
    for again before it is believed."""
    for _ in range(2):
        answer: Json = client.search.do_search(key, query)
        if "total" not in answer:
            raise Retryable("HubSpot answered a search with success and nothing in it. It is asked again.")
        if answer.get("results") or not answer["total"]:
            break
    return answer


def _youngest_known(client: Client, object_type: ObjectType, request: PullRequest) -> str:
    """Id after that of the youngest record older than the lag, or than the moment asked for; of any, for somebody who waits."""
    names = {p.name for p in object_type.properties}
    created = "createdate" if "createdate" in names else "hs_createdate"
    lagging = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=object_type.visibility_lag + SKEW)
    before = max(lagging, request.since) if request.since else lagging
    old: list[Json] = [{"propertyName": created, "operator": "LTE", "value": _milliseconds(before)}]
    query = {
        "filterGroups": [] if request.unkeyed else [{"filters": old}],
        "sorts": [{"propertyName": "hs_object_id", "direction": "DESCENDING"}],
        "properties": ["hs_object_id"],
        "limit": PAGE,  # the youngest may have been archived a moment ago: then it is counted, but not shown
    }
    found: Sequence[Json] = _search(client, object_type.key, query).get("results") or ()
    return str(int(found[0]["id"]) + 1) if found else ""


def _newest(client: Client, object_type: ObjectType, request: PullRequest, after: str) -> Iterator[Page]:
    pages = listed(client, object_type, request, after or None)
    for number, page in enumerate(pages, 1):
        enough = request.unkeyed and number >= SOON
        yield Page(page.records, None if enough or page.position is None else NEW + page.position)
        if enough:
            return


def _milliseconds(moment: dt.datetime) -> str:
    return str(int(moment.timestamp() * 1000))
