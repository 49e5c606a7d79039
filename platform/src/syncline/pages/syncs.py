"""Syncs: list, draft with field rules and match steps, versions, preview, and the buttons that act on them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.catalog import service as catalog
from syncline.connections import access
from syncline.connections.models import Connection
from syncline.outbox import watch
from syncline.runs import overview, schedule
from syncline.runs.models import Run
from syncline.syncs import publish as publishing
from syncline.syncs.engine.transforms import TRANSFORMS
from syncline.syncs.models import FieldRule, MatchStepRow, Sync

from . import continuous, directions, drift, positions, streams
from .base import ActionsAdmin, ObjectAction, StockInline, carry_out, is_staff, person, rights
from .continuous import Shape
from .display import badge, link
from .filters import ConnectionFilter
from .preview import preview_context
from .sync_actions import ACTIONS
from .sync_forms import (
    TARGETS,
    NewSyncForm,
    RuleForm,
    RuleFormSet,
    StepForm,
    StepFormSet,
    SyncForm,
    dataset_of,
    import_fields,
    object_of,
)

VERSIONS_SHOWN = 20

ARROWS = {"push": "→", "pull": "←", "two_way": "↔"}
SYNCED = ["name", "direction", "mode", "delete_policy", "segment", "filter", "gone_policy", "drift_policy"]
TIMING = ["source", "continuous", "cron", "at_once", "changes_cron", "follows", "enabled", "next_times"]
SYNCED_NOTE = (
    "Direction, mode, segment and filter belong to the draft: they count once it is published. The others count once saved."
)

FILTER_NOTE = "The filter belongs to the draft: it counts once it is published. The others count once saved."


def shape_of(sync: Sync) -> Shape:
    return continuous.shape_of(dataset_of(sync), object_of(sync))


class DraftInline(StockInline):
    """Rows of the draft: for who may change the connection; others get the mapping as a table."""

    extra = 1

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and rights(request, obj.connection).change

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or self.has_add_permission(request, obj)  # None: asked for the rows of the sync being shown

    has_view_permission = has_delete_permission = has_change_permission


class RuleInline(DraftInline):
    model = FieldRule
    form = RuleForm
    formset = RuleFormSet
    template = "syncline/rules_inline.html"
    verbose_name_plural = "draft: field rules"


class StepInline(DraftInline):
    model = MatchStepRow
    form = StepForm
    formset = StepFormSet
    verbose_name_plural = "draft: match steps, tried in this order"


@admin.register(Sync)
class SyncPage(ActionsAdmin):
    form = SyncForm
    list_display = ["name", "what", "over", "mode", "timetable", "last_run", "next_due_at", "blocked", "enabled"]
    list_select_related = ["connection", "follows"]
    list_filter = [ConnectionFilter, "enabled"]
    search_fields = ["name", "dataset", "object_type"]
    search_help_text = "Name, dataset or object"
    inlines = [RuleInline, StepInline]
    change_form_template = "admin/syncline/sync/change_form.html"
    object_actions = ACTIONS
    save_as = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sync]:
        seen = super().get_queryset(request).select_related("connection__owner", "current", "follows", "source")
        return seen.defer("connection__credentials", "source__credentials")

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return overview.with_last_run(rows).defer("connection__credentials", "current__content", "source__credentials")

    # Rights: who may change the connection changes its syncs.
    def has_add_permission(self, request: HttpRequest) -> bool:
        if not is_staff(request):
            return False
        user = person(request)
        return user.is_superuser or Connection.objects.filter(owner=user).exists()

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return is_staff(request) and (obj is None or rights(request, obj.connection).change)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and rights(request, obj.connection).change

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        if obj is None or not rights(request, obj.connection).change:
            return []
        matched = shape_of(obj) is Shape.STATE or obj.match_steps.exists()
        return list(self.inlines) if matched else [RuleInline]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": self._new_fields(request)})]
        without = directions.words(obj).without | continuous.without(obj, shape_of(obj), object_of(obj))
        synced, timing = ([name for name in names if name not in without] for names in (SYNCED, TIMING))
        return [
            ("What is synced", {"fields": synced, "description": SYNCED_NOTE if "mode" in synced else FILTER_NOTE}),
            ("When", {"fields": timing}),
            *([("First loads", {"fields": imported})] if (imported := import_fields(obj)) else []),
        ]

    def _new_fields(self, request: HttpRequest) -> list[str]:
        connection = self._asked_connection(request)
        logs = connection is not None and continuous.log_objects(catalog.objects(connection))
        return [name for name in NewSyncForm.Meta.fields if logs or name != "source"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return ["next_times"] if obj else []

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            connection = self._asked_connection(request)
            known = {"connection": connection, "sources": continuous.sources(request)}
            kwargs["form"] = type("BoundForm", (NewSyncForm,), known)
        else:
            kwargs["form"] = type("BoundForm", (SyncForm,), {"sources": continuous.sources(request, obj.source_id)})
        return super().get_form(request, obj, change=change, **kwargs)

    # Adding: first the connection, then what goes where, then the draft.
    def _own_connections(self, request: HttpRequest) -> QuerySet[Connection]:
        user = person(request)
        seen = access.visible_connections(user).defer("credentials").order_by("name")
        return seen if user.is_superuser else seen.filter(owner=user)

    def _asked_connection(self, request: HttpRequest) -> Connection | None:
        asked = request.GET.get("connection", "")
        return self._own_connections(request).filter(pk=asked).first() if asked.isdecimal() else None

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_add_permission(request) or self._asked_connection(request) is not None:
            return super().add_view(request, form_url, extra_context)
        choices = [(one.name, f"?connection={one.pk}", one.account_name) for one in self._own_connections(request)]
        title, nothing = "Add sync: choose the connection", "You own no connection. Add one first."
        context = self.page(request, title=title, choices=choices, nothing=nothing)
        return TemplateResponse(request, "syncline/choose.html", context)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = person(request)
        if {"cron", "at_once", "changes_cron", "enabled"} & set(form.changed_data):
            schedule.reschedule(obj)
        if change and form.initial.get("direction", obj.direction) != obj.direction and obj.current is not None:
            obj.current = None
            messages.warning(request, "The direction is another one: publish the mapping again before the sync can run.")
        if obj.continuous:
            continuous.unschedule(obj)
        super().save_model(request, obj, form, change)
        if not change and obj.continuous:
            continuous.draft(obj)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        super().response_add(request, obj, post_url_continue)  # for its message
        return HttpResponseRedirect(self.address(obj))

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        if "_publish" in request.POST:
            carry_out(self, request, obj, ObjectAction(ACTIONS["publish"].run))
            return HttpResponseRedirect(self.address(obj))
        if "_check" in request.POST:
            return HttpResponseRedirect(f"{self.address(obj)}#problems")
        return super().response_change(request, obj)

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> HttpResponse:
        if (sync := kwargs.get("obj")) is not None:
            context.update(change_context(sync), rights=rights(request, sync.connection), title=sync.name, subtitle=None)
            context.update(streams.of_sync(request, sync) if sync.continuous else {})
            context["show_save_and_add_another"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    # The preview shows records, so it asks for the dataset's permission as well.
    def get_urls(self) -> list[URLPattern]:
        preview, live = self.admin_site.admin_view(self.preview), self.admin_site.admin_view(self.streaming)
        return [
            path("<path:object_id>/preview/", preview, name="syncline_sync_preview"),
            path("<path:object_id>/streaming/", live, name="syncline_sync_streaming"),
            *super().get_urls(),
        ]

    def streaming(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """How a continuous sync stands; asked for every few seconds."""
        sync = self.found(request, object_id)
        context = {"original": sync, "rights": rights(request, sync.connection), **streams.of_sync(request, sync)}
        return TemplateResponse(request, "syncline/stream_live.html", context)

    def preview(self, request: HttpRequest, object_id: str) -> HttpResponse:
        sync = self.found(request, object_id)
        context = self.page(request, title=f"Preview of {sync.name}", original=sync, **preview_context(request, sync))
        return TemplateResponse(request, "admin/syncline/sync/preview.html", context)

    @admin.display(description="dataset, object")
    def what(self, obj: Sync) -> SafeString:
        return format_html("{} {} {}", obj.dataset, ARROWS.get(obj.direction, "→"), obj.object_type)

    @admin.display(description="connection", ordering="connection__name")
    def over(self, obj: Sync) -> str:
        return obj.connection.name

    @admin.display(description="schedule", ordering="cron", empty_value="by hand")
    def timetable(self, obj: Sync) -> str:
        if obj.continuous:
            return "continuous"
        whole = f"after {obj.follows.name}" if obj.follows else obj.cron
        return "; ".join(filter(None, (whole, "changes at once" if obj.at_once else "")))

    @admin.display(description="last run", empty_value="never")
    def last_run(self, obj: Any) -> SafeString | None:
        if obj.last_run_id is None:
            return None
        label = Run.State(obj.last_run_state).label
        return link(reverse("admin:syncline_run_change", args=[obj.last_run_id]), badge(obj.last_run_state, label))

    @admin.display(description="could not start", empty_value="–")
    def blocked(self, obj: Sync) -> str | None:
        return obj.blocked_reason

    @admin.display(description="next times (UTC)")
    def next_times(self, obj: Sync) -> str:
        if not obj.enabled:
            return "never: the sync is switched off"
        whole, changed = (
            ", ".join(f"{one:%a %-d %b %Y %H:%M}" for one in schedule.next_times(cron)) for cron in (obj.cron, obj.changes_cron)
        )
        if obj.follows:
            whole = f"after each whole run of {obj.follows.name}"
        if changed := ", ".join(filter(None, ("at once" if obj.at_once else "", changed))):
            return f"everything: {whole or 'by hand only'}; changes: {changed}"
        return whole or "by hand only; write a schedule above to have it run"


def change_context(sync: Sync) -> dict[str, Any]:
    """What stands around the form: draft and versions, problems, what the account and the dataset offer."""
    draft = publishing.draft_content(sync)
    object_type, dataset = object_of(sync), dataset_of(sync)
    versions = sync.versions.select_related("published_by").order_by("-number")
    runs = sync.runs.order_by("-id").select_related("version").only(*_RUN_COLUMNS)
    return {
        "draft": draft,
        "problems": publishing.problems(sync),
        "changes": watch.told(sync) if directions.pushes(sync) and not sync.continuous else "",
        "shape": shape_of(sync),
        "pulls": directions.pulls(sync),
        "pushes": directions.pushes(sync),
        **positions.context(sync),
        **drift.of_sync(sync),
        "unpublished": sync.current is None or sync.current.digest != draft.digest,
        "versions": list(versions[:VERSIONS_SHOWN]),
        "last_runs": list(runs[:5]),
        "targets_id": TARGETS,
        "object_type": object_type,
        "dataset_info": dataset.info if dataset else None,
        "transforms": list(TRANSFORMS.values()),
    }


_RUN_COLUMNS = ("id", "state", "kind", "created_at", "started_at", "finished_at", "reason", "sync", "version__number")
