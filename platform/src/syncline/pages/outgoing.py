"""Messages that syncs pass on: the list, and what became of one event of the inbox."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.connections import access
from syncline.inbox import overview
from syncline.inbox.models import InboxEvent
from syncline.ledger.messages import Outgoing
from syncline.runs.outcome import next_step

from .base import ConnectionAdmin, person
from .display import badge, shortened
from .filters import ConnectionOfRun, SyncFilter

_TONES: Final = {
    Outgoing.State.WAITING: "waiting",
    Outgoing.State.PUBLISHED: "ok",
    Outgoing.State.REFUSED: "failed",
}


def of_event(user: User, event: InboxEvent) -> list[dict[str, Any]]:
    """What each sync did with it, as far as the person may see the syncs."""
    seen = Outgoing.objects.filter(event_id=event.pk, sync__connection__in=access.visible_connections(user))
    rows = seen.select_related("sync__connection").defer("sync__connection__credentials").order_by("sync__name", "pk")
    return [{"row": one, "badge": state_badge(one), "next_step": _step(one)} for one in rows]


def state_badge(one: Outgoing) -> SafeString:
    return badge(_TONES.get(Outgoing.State(one.state), ""), one.get_state_display())


def _step(one: Outgoing) -> str:
    return next_step(one.code) if one.state == Outgoing.State.REFUSED else ""


@admin.register(Outgoing)
class OutgoingPage(ConnectionAdmin):
    """Each leads to its event in the inbox."""

    connection_lookup = "sync__connection"
    list_title = "Outgoing messages: what syncs pass on"
    list_display = ["message", "status", "by", "queued"]
    list_filter = ["state", SyncFilter, ConnectionOfRun]
    list_select_related = ["sync__connection"]
    search_fields = ["key__exact", "remote_id__exact"]
    search_help_text = "Key, or the place there such as 0:17, exactly"
    ordering = ["-id"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("sync__connection").defer("sync__connection__credentials")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Only among events that the person may read: a key that is found is a key that is told."""
        found, doubled = super().get_search_results(request, queryset, search_term)
        readable = overview.visible_events(person(request)).values("pk")
        return (found.filter(event_id__in=readable) if search_term.strip() else found), doubled

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        ids = [one.event_id for one in rows]
        known = set(overview.visible_events(person(request)).filter(pk__in=ids).values_list("pk", flat=True))
        for one in rows:
            one.readable = one.event_id in known
        return rows

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one = self.found(request, object_id)
        return HttpResponseRedirect(reverse("admin:syncline_inboxevent_change", args=[one.event_id]) + "#passed-on")

    @admin.display(description="message", ordering="id")
    def message(self, obj: Any) -> SafeString:
        key = shortened(obj.key, 60) or "no key"
        return format_html('event {}<span class="below">{}</span>', obj.event_id, key if obj.readable else "key not shown")

    @admin.display(description="state, why", ordering="state")
    def status(self, obj: Outgoing) -> SafeString:
        told = shortened(obj.reason, 200) or (f"at {obj.remote_id}" if obj.remote_id else "")
        return format_html('{} {}<span class="below">{}</span>', state_badge(obj), told, _step(obj))

    @admin.display(description="sync", ordering="sync__name")
    def by(self, obj: Outgoing) -> SafeString:
        return format_html('{}<span class="below">to {}</span>', obj.sync.name, obj.sync.object_type)

    @admin.display(description="queued (UTC)", ordering="id")
    def queued(self, obj: Outgoing) -> str:
        return f"{obj.queued_at:%-d %b %Y %H:%M:%S}"
