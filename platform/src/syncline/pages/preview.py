"""Choosing a record and showing what the draft makes of it. Asks the vendor nothing, unless the sync pulls."""

from __future__ import annotations

from typing import Any, cast

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest

from syncline.contract import Dataset, SynclineError
from syncline.inbox import overview
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.ledger.reading import add_titles, may_read, titles
from syncline.syncs import publish, pull_preview
from syncline.syncs.models import Sync

from . import directions
from .base import Context, person, rights
from .sync_forms import dataset_of

OFFERED = 15


def preview_context(request: HttpRequest, sync: Sync) -> Context:
    asked, key = request.GET.get("q", "").strip(), request.GET.get("key", "").strip()
    context: Context = {"q": asked, "key": key, "shown": None, "records": [], "refusal": ""}
    found = dataset_of(sync)
    if found is None:
        return {**context, "refusal": f"No installed app offers the dataset {sync.dataset}. Install the app and restart."}
    if not may_read(person(request), sync.dataset):
        return {
            **context,
            "refusal": f"The preview shows records of {found.info.label}, which you may not read. "
            f"An administrator can give you the permission {found.info.permission}.",
        }
    if found.info.log:
        return {**context, **_messages(request, sync, key)}
    if not directions.pushes(sync):
        return {**context, **_pulled(request, sync, key)}
    try:
        context["shown"] = publish.preview(sync, key) if key else None
        context["records"] = records(request, sync, found, asked)
    except SynclineError as error:
        context["refusal"] = str(error)
    context["record_title"] = titles(sync.dataset, [key]).get(key, key) if key else ""
    return context


def _pulled(request: HttpRequest, sync: Sync, remote_id: str) -> Context:
    """One remote record by its id, which is one call to the account; newly pulled ones are offered."""
    offered = _newest(request, sync)
    context: Context = {"pulled": True, "records": offered, "record_title": dict(offered).get(remote_id) or remote_id}
    if not rights(request, sync.connection).run:
        return {
            **context,
            "refusal": "The account is asked for the record, which takes the right to run this connection's syncs.",
        }
    try:
        return {**context, "shown": pull_preview.preview(sync, remote_id) if remote_id else None}
    except SynclineError as error:
        return {**context, "refusal": str(error)}


def _messages(request: HttpRequest, sync: Sync, key: str) -> Context:
    """Of the messages that the sync passes on, the latest; of nobody else's."""
    seen = overview.visible_events(person(request)).filter(connection=sync.source_id)
    offered = [str(pk) for pk in seen.order_by("-pk").values_list("pk", flat=True)[:OFFERED]]
    names = titles(sync.dataset, offered)
    context: Context = {"records": [(one, names.get(one, one)) for one in offered], "messages_only": True}
    if not key:
        return context
    if not (key.isdecimal() and seen.filter(pk=key).exists()):
        return {**context, "refusal": f"There is no message {key} of the connection whose messages are passed on."}
    try:
        shown = publish.preview(sync, key)
    except SynclineError as error:
        return {**context, "refusal": str(error)}
    return {**context, "shown": shown, "record_title": titles(sync.dataset, [key]).get(key, key)}


def _newest(request: HttpRequest, sync: Sync) -> list[tuple[str, str]]:
    """Ids and names of records that wait in the review list, and of those linked last."""
    waiting = Arrival.objects.filter(sync=sync).order_by("-pk").values_list("remote_id", "title")[:OFFERED]
    links = Link.objects.filter(connection=sync.connection_id, object_type=sync.object_type, dataset=sync.dataset)
    linked = list(links.filter(remote_id__isnull=False).order_by("-pk")[:OFFERED])
    add_titles(person(request), linked)
    named = [(str(one.remote_id), one.title or one.local_key) for one in cast(list[Any], linked)]
    return list({**dict(waiting), **dict(named)}.items())[:OFFERED]


def records(request: HttpRequest, sync: Sync, found: Dataset, asked: str) -> list[tuple[str, str]]:
    """Keys and names to choose from: what the search of the model's own admin page finds, else the first of the segment."""
    keys = _search(request, found, asked) if asked else _first(sync, found)
    names = titles(sync.dataset, keys)
    return [(key, names.get(key, key)) for key in keys]


def _first(sync: Sync, found: Dataset) -> list[str]:
    rows = found.rows((), sync.segment, sync.connection.owner).order_by(found.key_field)
    return [str(key) for key in rows.values_list(found.key_field, flat=True)[:OFFERED]]


def _search(request: HttpRequest, found: Dataset, asked: str) -> list[str]:
    page: Any = admin.site._registry.get(apps.get_model(found.info.model)) if found.info.model else None
    if page is None or not page.has_view_permission(request):
        return [asked]  # then only the key itself can be given
    rows, _ = page.get_search_results(request, page.model._default_manager.all(), asked)
    keys = [found.record_key(instance) for instance in rows.distinct()[:OFFERED]]
    by_key = [asked] if asked.isalnum() and asked not in keys and titles(found.info.key, [asked]) else []
    return list(dict.fromkeys([*by_key, *keys]))
