"""Pulls by list: every record once, or every archived one. Lists do not lag, know no dates, and go on by the id of a record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from syncline.contract import ObjectType, Page, PullRequest, RemoteRecord, Retryable

from .client import HISTORY_PAGE, Client, following
from .errors import Json
from .linking import linked
from .reading import batch_read
from .wire import Reader, with_merged

LONGEST_QUERY: Final = 14_000  # characters; the address of a call has to stay below 15,000


def listed(client: Client, object_type: ObjectType, request: PullRequest, after: str | None) -> Iterator[Page]:
    query: Json = {"properties": with_merged(request.properties), "after": after}
    query |= {"limit": HISTORY_PAGE, "properties_with_history": list(request.history)} if request.history else {}
    query |= {"associations": list(request.associations)} if request.associations else {}
    query |= {"archived": True} if request.archived else {}
    long = sum(len(name) + 3 for name in (*query["properties"], *request.history)) > LONGEST_QUERY
    if long:
        query = {**query, "properties": ["hs_object_id"]}
        query.pop("properties_with_history", None)
    reader = Reader(object_type)
    for raws, position in client.pages(partial(surely, client.objects.get_page), object_type.key, **query):
        records = [reader(raw) for raw in raws]
        told = {one.id: raw.get("associations") or {} for one, raw in zip(records, raws, strict=True)}
        if long:
            records = read_whole(client, object_type, [one.id for one in records], request)
        yield Page(linked(client, object_type, records, request.associations, told), position)


def archived(client: Client, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
    """HubSpot lists archived records by id only, so that all of them are gone through for those archived since."""
    for page in listed(client, object_type, request, request.position):
        since = request.since
        lately = [one for one in page.records if since is None or one.modified_at is None or one.modified_at >= since]
        yield replace(page, records=lately)


def surely(get_page: Any, *args: Any, **query: Any) -> Json:
    """HubSpot has been seen to answer with success and nothing in it: an empty page is asked for again before it is believed."""
    for _ in range(2):
        answer: Json = get_page(*args, **query)
        if answer.get("results"):
            return answer
    if following(answer):
        raise Retryable("HubSpot answered with an empty page in the middle of a listing. It is listed again.")
    return answer


def read_whole(client: Client, object_type: ObjectType, ids: Iterable[str], request: PullRequest) -> list[RemoteRecord]:
    """The records with all that was asked for but associations; those that went meanwhile are left out."""
    query: Json = {"properties": with_merged(request.properties)}
    raws = batch_read(client, object_type.key, ids, query, archived=request.archived, past=request.history)
    reader = Reader(object_type)
    return [reader(raw) for raw in raws]


def completed(client: Client, object_type: ObjectType, raws: Sequence[Json], request: PullRequest) -> list[RemoteRecord]:
    """Hits of a search with what a search does not tell: history and associations."""
    reader = Reader(object_type)
    records = [reader(raw) for raw in raws]
    if request.history:
        past = {one.id: one.history for one in read_whole(client, object_type, [one.id for one in records], request)}
        records = [replace(one, history=past.get(one.id, {})) for one in records]
    return linked(client, object_type, records, request.associations)
