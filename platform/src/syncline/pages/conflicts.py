"""Fields that both sides changed: the list, both values side by side, and which side holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.connections.models import Connection
from syncline.contract import ConfigError
from syncline.ledger.models import Entry, Link
from syncline.ledger.pulled import Conflict
from syncline.ledger.reading import entries, readable, titles
from syncline.registry import datasets
from syncline.runs.plan.overview import shown as value
from syncline.runs.pull import decide as deciding
from syncline.syncs.models import Sync

from .base import Context, ObjectAction, person, rights
from .bulk import DecidingAdmin
from .display import badge, shortened
from .filters import ConnectionOfRun, OpenFilter, SyncFilter

HERE, THERE = Conflict.Decision.HERE, Conflict.Decision.THERE
LOOKED_THROUGH = 200
UNREADABLE = "(you may not read these records)"
SAID = {HERE: "Ours holds; it is being written there.", THERE: "Theirs holds; it is being taken in here."}


def ours(page: Any, request: HttpRequest, one: Conflict) -> str:
    return _decided(request, one, HERE)


def theirs(page: Any, request: HttpRequest, one: Conflict) -> str:
    return _decided(request, one, THERE)


def _decided(request: HttpRequest, one: Conflict, side: str) -> str:
    _refuse_unread(request, [one])
    deciding.decide(one, side, person(request))
    return f"{one.property}: {SAID[Conflict.Decision(side)]}"


def _list(_one: Any) -> str:
    return reverse("admin:syncline_conflict_changelist")


@admin.register(Conflict)
class ConflictPage(DecidingAdmin):
    connection_lookup = "sync__connection"
    list_title = "Conflicts: fields that both sides changed"
    list_display = ["record", "what", "here_value", "there_value", "since"]
    list_filter = [OpenFilter, SyncFilter, ConnectionOfRun]
    list_select_related = ["sync__connection", "link"]
    search_fields = ["property__exact", "link__local_key__exact", "link__remote_id__exact"]
    search_help_text = "Property, local key or remote id, exactly"
    ordering = ["-id"]
    actions = ["ours_all", "theirs_all"]
    object_actions = {"ours": ObjectAction(ours, "run", _list), "theirs": ObjectAction(theirs, "run", _list)}

    def connection_of(self, obj: Any) -> Connection:
        return cast(Conflict, obj).sync.connection

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conflict]:
        related = super().get_queryset(request).select_related("sync__connection__owner", "sync__current", "link", "decided_by")
        return related.defer("sync__connection__credentials", "sync__current__content")

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        return named(request, rows)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one = named(request, [self.found(request, object_id)])[0]
        title = f"{one.property} of {one.title or one.link.local_key}"
        context = self.page(request, title=title, **conflict_context(request, one))
        return TemplateResponse(request, "admin/syncline/conflict/page.html", context)

    @admin.action(description="Ours holds: write it there")
    def ours_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.decide_many(request, queryset, lambda rows: _decided_all(request, rows, HERE))

    @admin.action(description="Theirs holds: take it in here")
    def theirs_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.decide_many(request, queryset, lambda rows: _decided_all(request, rows, THERE))

    @admin.display(description="our record")
    def record(self, obj: Any) -> SafeString:
        return format_html('{}<span class="below">{} {}</span>', obj.title or "(no name)", obj.link.dataset, obj.link.local_key)

    @admin.display(description="field, sync", ordering="property")
    def what(self, obj: Conflict) -> SafeString:
        return format_html('{} ↔ {}<span class="below">{}</span>', obj.field, obj.property, obj.sync.name)

    @admin.display(description="ours")
    def here_value(self, obj: Any) -> SafeString:
        return _cell(obj, obj.ours, "ours", "Ours holds")

    @admin.display(description="theirs")
    def there_value(self, obj: Any) -> SafeString:
        return _cell(obj, obj.theirs, "theirs", "Theirs holds")

    @admin.display(description="since (UTC)", ordering="at")
    def since(self, obj: Any) -> SafeString:
        return format_html('{}<span class="below">{}</span>', f"{obj.at:%-d %b %Y %H:%M}", obj.get_decision_display())


def _cell(one: Any, text: str, action: str, label: str) -> SafeString:
    """A value and its button, which sends the list's own form to another address: a form cannot stand in a form."""
    shown = format_html("{}", shortened(text, 160)) if text else format_html("<em>empty</em>")
    if one.decided_at or not one.may_decide:
        return shown
    address = reverse("admin:syncline_conflict_do", args=[one.pk, action])
    spoken = f"{label}: {one.property} of {one.title or one.link.local_key}"
    button = format_html(
        '<button type="submit" class="button quiet" formaction="{}" aria-label="{}">{}</button>', address, spoken, label
    )
    return format_html('{}<span class="row-buttons">{}</span>', shown, button)


def _refuse_unread(request: HttpRequest, rows: Sequence[Conflict]) -> None:
    known = readable(person(request))
    if unread := sorted({one.sync.dataset for one in rows} - known):
        raise ConfigError(f"You may not read {', '.join(unread)}, and who decides has to see the values.")


def _decided_all(request: HttpRequest, rows: Sequence[Conflict], side: str) -> str:
    _refuse_unread(request, rows)
    number = deciding.decide_all(rows, side, person(request))
    if not number:
        raise ConfigError("All of these are decided already.")
    return f"{number:,} decided. {SAID[Conflict.Decision(side)]}"


def named(request: HttpRequest, rows: list[Any]) -> list[Any]:
    """Each with its record's name and both values, where the person may read the dataset: one query for each dataset."""
    user = person(request)
    known, may = readable(user), user.has_perm(deciding.PERMISSION)
    keys: dict[str, list[str]] = {}
    for one in rows:
        keys.setdefault(one.link.dataset, []).append(one.link.local_key)
    names = {key: titles(key, those) for key, those in keys.items() if key in known}
    for one in rows:
        one.readable = one.link.dataset in known
        one.title = names.get(one.link.dataset, {}).get(one.link.local_key, "")
        one.ours, one.theirs = (value(v) if one.readable else UNREADABLE for v in (one.here, one.there))
        one.may_decide = one.readable and may and rights(request, one.sync.connection).run
    return rows


def conflict_context(request: HttpRequest, one: Any) -> Context:
    return {
        "conflict": one,
        "original": one,
        "badge": badge("ambiguous", "open") if one.decided_at is None else badge("succeeded", one.get_decision_display()),
        "rights": rights(request, one.sync.connection),
        "changed_here": changed_here(one.sync, one.link) if one.readable else None,
        "agreed": last_agreed(one) if one.readable else None,
        "ours_whole": one.here if one.readable else UNREADABLE,
        "theirs_whole": one.there if one.readable else UNREADABLE,
    }


def changed_here(sync: Sync, link: Link) -> Any:
    """When our record was changed last, if its dataset says so."""
    found = datasets().get(sync.dataset)
    name = found.info.modified if found else ""
    if found is None or not name:
        return None
    rows = found.rows((name,), "", sync.connection.owner).filter(**{found.key_field: link.local_key})
    return rows.values_list(name, flat=True).first()


def last_agreed(one: Conflict) -> Entry | None:
    """The last write of this field by either side, with the value that both had then, as `value`."""
    for entry in entries(one.link)[:LOOKED_THROUGH]:
        name = one.field if entry.op == "pull" else one.property
        if name in entry.sent and entry.status in ("created", "updated", "unchanged"):
            entry.value = value(entry.sent[name])  # type: ignore[attr-defined]
            return entry
    return None
