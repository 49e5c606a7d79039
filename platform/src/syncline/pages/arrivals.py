"""Records from an account that found no place here: the list, the page of one, and what a person decides about them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.connections.models import Connection
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.ledger.reading import links_of, readable, titles
from syncline.runs.models import Run
from syncline.runs.outcome import next_step
from syncline.runs.pull import placing

from .base import Context, ObjectAction, person, rights
from .bulk import DecidingAdmin
from .display import badge, shortened
from .filters import ARRIVALS, ArrivalFilter, ConnectionOfRun, SyncFilter


def _started(runs: Iterable[Run]) -> str:
    numbers = [str(run.pk) for run in runs]
    return f"run{'' if len(numbers) == 1 else 's'} {', '.join(numbers)}"


def try_again(page: Any, request: HttpRequest, one: Arrival) -> str:
    return f"It is being fetched again, before everything else, by {_started(placing.try_again([one], person(request)))}."


def create(page: Any, request: HttpRequest, one: Arrival) -> str:
    return f"It becomes a record of its own here, by {_started(placing.create([one], person(request)))}."


def link(page: Any, request: HttpRequest, one: Arrival) -> str:
    key = request.POST.get("local_key", "").strip()
    return f"Linked to our record {key}; its values are taken in by {_started([placing.link_to(one, key, person(request))])}."


def renew(page: Any, request: HttpRequest, one: Arrival) -> str:
    return f"It is taken in anew, by {_started([placing.renew(one, person(request))])}."


def fetching_run(one: Arrival) -> str:
    """Where to look after a decision: once the record is stored here, its arrival is no more."""
    newest = Run.objects.filter(sync=one.sync_id).order_by("-pk").first()
    return reverse("admin:syncline_run_change", args=[newest.pk]) if newest else reverse("admin:syncline_arrival_changelist")


@admin.register(Arrival)
class ArrivalPage(DecidingAdmin):
    connection_lookup = "sync__connection"
    list_title = "Review list: records from there that found no place here"
    list_display = ["record", "status", "into", "since_when"]
    list_filter = [ArrivalFilter, SyncFilter, ConnectionOfRun]
    list_select_related = ["sync__connection"]
    search_fields = ["remote_id__exact"]
    search_help_text = "Remote id, exactly, or a part of the name"
    ordering = ["-id"]
    actions = ["try_again_all", "create_all"]
    object_actions = {
        "try-again": ObjectAction(try_again, "run", fetching_run),
        "create": ObjectAction(create, "run", fetching_run),
        "link": ObjectAction(link, "run", fetching_run),
        "renew": ObjectAction(renew, "run", fetching_run),
    }

    def connection_of(self, obj: Any) -> Connection:
        return cast(Arrival, obj).sync.connection

    def get_queryset(self, request: HttpRequest) -> QuerySet[Arrival]:
        related = super().get_queryset(request).select_related("sync__connection__owner", "sync__current")
        return related.defer("sync__connection__credentials", "sync__current__content")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """By name only what the person may read: a name that is found is a name that is told."""
        found, doubled = super().get_search_results(request, queryset, search_term)
        if not search_term.strip():
            return found, doubled
        named = queryset.filter(title__icontains=search_term.strip(), sync__dataset__in=readable(person(request)))
        return found | named, doubled

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        known = readable(person(request))
        for one in rows:
            if one.sync.dataset not in known:
                one.title = ""
        return rows

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one = self.enrich(request, [self.found(request, object_id)])[0]
        context = self.page(
            request, title=one.title or f"{one.sync.object_type} {one.remote_id}", **arrival_context(request, one)
        )
        return TemplateResponse(request, "admin/syncline/arrival/page.html", context)

    @admin.action(description="Try again: fetch them and look once more")
    def try_again_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        user = person(request)
        self.decide_many(
            request,
            queryset,
            lambda rows: f"{len(rows):,} are being fetched again, by {_started(placing.try_again(rows, user))}.",
        )

    @admin.action(description="Create here as records of their own")
    def create_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        user = person(request)
        self.decide_many(
            request,
            queryset,
            lambda rows: f"{len(rows):,} become records of their own here, by {_started(placing.create(rows, user))}.",
        )

    @admin.display(description="record there", ordering="remote_id")
    def record(self, obj: Any) -> SafeString:
        return format_html(
            '{}<span class="below">{} {} in {}</span>',
            obj.title or "(no name)",
            obj.sync.object_type,
            obj.remote_id,
            obj.sync.connection.name,
        )

    @admin.display(description="why, next step", ordering="state")
    def status(self, obj: Arrival) -> SafeString:
        return format_html(
            '{} {}<span class="below">{}</span>',
            state_badge(obj),
            shortened(obj.reason, 200),
            next_step(obj.code, pulled=True),
        )

    @admin.display(description="sync", ordering="sync__name")
    def into(self, obj: Arrival) -> SafeString:
        return format_html('{}<span class="below">into {}</span>', obj.sync.name, obj.sync.dataset)

    @admin.display(description="since (UTC)", ordering="since")
    def since_when(self, obj: Arrival) -> SafeString:
        looked = f"looked at {obj.checked_at:%-d %b %H:%M}"
        return format_html('{}<span class="below">{}</span>', f"{obj.since:%-d %b %Y %H:%M}", looked)


def state_badge(one: Arrival) -> SafeString:
    return badge(one.state, ARRIVALS.get(Link.State(one.state)) or one.get_state_display())


def arrival_context(request: HttpRequest, one: Arrival) -> Context:
    user, sync = person(request), one.sync
    key = one.local_key
    ours = titles(sync.dataset, [key]).get(key, "") if key and sync.dataset in readable(user) else ""
    return {
        "arrival": one,
        "original": one,
        "badge": state_badge(one),
        "next_step": next_step(one.code, pulled=True),
        "ours": ours,
        "link_id": links_of(sync, [key]).get(key) if key else None,
        "others": _others(request, one),
        "rights": rights(request, sync.connection),
        "may_decide": placing.may_decide(user, sync),
        "can_create": placing.can_create(one),
        "can_link": placing.can_link(one),
        "can_renew": placing.can_renew(one),
    }


def _others(request: HttpRequest, one: Arrival) -> list[Link]:
    """Links of other datasets or syncs that hold this remote record."""
    held = Link.objects.filter(connection=one.sync.connection_id, object_type=one.sync.object_type, remote_id=one.remote_id)
    return list(held.exclude(dataset=one.sync.dataset, local_key=one.local_key))
