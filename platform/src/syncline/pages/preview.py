"""Choosing a record and showing what the draft makes of it. Asks the vendor nothing."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.http import HttpRequest

from syncline.contract import Dataset, SynclineError
from syncline.ledger.reading import may_read, titles
from syncline.syncs import publish
from syncline.syncs.models import Sync

from .base import Context, person
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
    try:
        context["shown"] = publish.preview(sync, key) if key else None
        context["records"] = records(request, sync, found, asked)
    except SynclineError as error:
        context["refusal"] = str(error)
    context["record_title"] = titles(sync.dataset, [key]).get(key, key) if key else ""
    return context


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
