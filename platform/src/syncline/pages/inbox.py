"""The inbox: events that vendors told of, the deliveries they came in, and replaying both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.connections.redaction import redact
from syncline.connections.secrets import MASK
from syncline.contract import SynclineError
from syncline.contract.webhooks import EventKind
from syncline.inbox import addresses, overview, replay
from syncline.inbox.models import Delivery, InboxEvent, WebhookAddress

from . import outgoing
from .base import ConnectionAdmin, ObjectAction, StockAdmin, carry_out, person, rights
from .display import badge, shortened
from .filters import ConnectionFilter

MOST_AT_ONCE: Final = 500
BODY_SHOWN: Final = 20_000
EVENTS_SHOWN: Final = 100
TELLING: Final = ("signature", "authorization", "cookie", "token", "secret", "hmac", "api-key")


def may_change_address(request: HttpRequest, address: WebhookAddress) -> bool:
    """Whoever may change what it belongs to."""
    if address.connection is not None:
        return rights(request, address.connection).change
    return person(request).has_perm("syncline.change_registration")


def may_replay(request: HttpRequest, event: InboxEvent) -> bool:
    if event.connection is not None:
        return rights(request, event.connection).run
    return may_change_address(request, event.delivery.address)


def replay_event(page: Any, request: HttpRequest, event: InboxEvent) -> str:
    if event.state not in replay.REPLAYABLE:
        return "Nothing to do: it waits already, or was replayed before."
    made = replay.one(event.pk)
    if not made.events:
        return "The delivery could not be read, or tells nothing at this place any more; see the delivery."
    return f"Replayed: {made.events} event{'s' if made.events > 1 else ''} made, {made.waiting} on the way."


def replay_delivery(page: Any, request: HttpRequest, delivery: Delivery) -> str:
    made = replay.whole(delivery.pk)
    delivery.refresh_from_db(fields=["cause"])
    if delivery.cause:
        return f"It still cannot be read: {delivery.cause}"
    return f"Replayed: {made.events} event{'' if made.events == 1 else 's'} made, {made.waiting} on the way."


class PostedAdmin(ConnectionAdmin):
    """Buttons of an object that may belong to no connection: POST `<object>/do/<name>/`."""

    object_actions: dict[str, ObjectAction] = {}

    def allowed(self, request: HttpRequest, obj: Any) -> bool:
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_do"
        return [path("<path:object_id>/do/<slug:name>/", self.admin_site.admin_view(self.do), name=name), *super().get_urls()]

    def do(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        obj = self.found(request, object_id)
        if name not in self.object_actions or not self.allowed(request, obj):
            raise PermissionDenied
        carry_out(self, request, obj, self.object_actions[name])
        return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[obj.pk]))


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, kind.value) for kind in EventKind]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(InboxEvent)
class EventPage(PostedAdmin):
    list_title = "Inbox: what vendors told by themselves"
    list_display = ["record", "status", "connection_name", "received"]
    list_filter = ["state", KindFilter, ConnectionFilter, "received_at"]
    search_fields = ["remote_id__exact", "key__exact"]
    search_help_text = "Remote id or the vendor's name of the event, exactly"
    ordering = ["-id"]
    actions = ["replay_chosen"]
    object_actions = {"replay": ObjectAction(replay_event)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        seen = overview.visible_events(person(request)).select_related(
            "connection__owner", "delivery__address__connection__owner"
        )
        return seen.select_related("delivery__address__registration").defer(*_secret("connection", "delivery__address"))

    def get_actions(self, request: HttpRequest) -> Any:
        return StockAdmin.get_actions(self, request)

    def allowed(self, request: HttpRequest, obj: Any) -> bool:
        return may_replay(request, obj)

    @admin.action(description="Replay the chosen events")
    def replay_chosen(self, request: HttpRequest, chosen: QuerySet[InboxEvent]) -> None:
        events = list(chosen[: MOST_AT_ONCE + 1])
        if len(events) > MOST_AT_ONCE:
            messages.error(request, f"At most {MOST_AT_ONCE} at once. For more use: syncline inbox replay")
            return
        made = sum(_replayed(self, request, one) for one in events if may_replay(request, one))
        messages.success(
            request, f"Replayed {made} of {len(events)} events; those that wait, or that you may not run, were left."
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        event = self.found(request, object_id)
        context = {
            "event": event,
            "original": event,
            "badge": badge(event.state, event.get_state_display()),
            "may_replay": may_replay(request, event) and event.state in replay.REPLAYABLE,
            "passed_on": outgoing.of_event(person(request), event),
            "may_open": overview.visible_deliveries(person(request)).filter(pk=event.delivery_id).exists(),
        }
        title = f"{event.kind.capitalize()}: {event.object_type} {event.remote_id}"
        return TemplateResponse(request, "admin/syncline/inboxevent/page.html", self.page(request, title=title, **context))

    @admin.display(description="event, record", ordering="id")
    def record(self, obj: InboxEvent) -> SafeString:
        told = f"{obj.kind}{', replayed' if obj.replay else ''}"
        return format_html('{} {}<span class="below">{}</span>', obj.object_type, shortened(obj.remote_id, 60) or "–", told)

    @admin.display(description="state, reason", ordering="state")
    def status(self, obj: InboxEvent) -> SafeString:
        shown = badge(obj.state, obj.get_state_display())
        return format_html('{}<span class="below">{}</span>', shown, shortened(obj.last_error, 160))

    @admin.display(description="connection", ordering="connection")
    def connection_name(self, obj: InboxEvent) -> SafeString:
        name = obj.connection.name if obj.connection else "none"
        return format_html('{}<span class="below">account {}</span>', name, obj.account or "not named")

    @admin.display(description="received (UTC)", ordering="received_at")
    def received(self, obj: InboxEvent) -> str:
        return f"{obj.received_at:%-d %b %Y %H:%M:%S}"


def _replayed(page: EventPage, request: HttpRequest, event: InboxEvent) -> bool:
    try:
        made = replay.one(event.pk)
    except SynclineError as error:
        messages.error(request, str(error))
        return False
    if made.events:
        page.log_change(request, event, "Replayed.")
    return bool(made.events)


@admin.register(Delivery)
class DeliveryPage(PostedAdmin):
    list_title = "Deliveries: what arrived, byte for byte"
    list_display = ["number", "status", "came_to", "size", "received"]
    list_filter = ["state", "received_at"]
    ordering = ["-id"]
    object_actions = {"replay": ObjectAction(replay_delivery)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        seen = overview.visible_deliveries(person(request)).select_related("address__connection__owner", "address__registration")
        return self.for_list(seen.defer(*_secret("address"))) if self._is_list(request) else seen.defer(*_secret("address"))

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.defer("body", "headers", *_secret("address"))

    def allowed(self, request: HttpRequest, obj: Any) -> bool:
        return may_change_address(request, obj.address)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        delivery = self.found(request, object_id)
        context = self.page(request, title=f"Delivery {delivery.pk}", **delivery_context(request, delivery))
        return TemplateResponse(request, "admin/syncline/delivery/page.html", context)

    @admin.display(description="delivery", ordering="id")
    def number(self, obj: Delivery) -> str:
        return f"{obj.pk}"

    @admin.display(description="state, reason", ordering="state")
    def status(self, obj: Delivery) -> SafeString:
        shown = badge(obj.state, obj.get_state_display())
        return format_html('{}<span class="below">{}</span>', shown, shortened(obj.cause, 160))

    @admin.display(description="address of")
    def came_to(self, obj: Delivery) -> str:
        return str(obj.address.registration or obj.address.connection)

    @admin.display(description="received (UTC)", ordering="received_at")
    def received(self, obj: Delivery) -> str:
        return f"{obj.received_at:%-d %b %Y %H:%M:%S}"


def _secret(*places: str) -> Iterator[str]:
    """Columns that no list of the inbox needs and that would have to be decrypted."""
    for place in places:
        if place.endswith("connection"):
            yield f"{place}__credentials"
        else:
            yield from (f"{place}__secrets", f"{place}__connection__credentials", f"{place}__registration__client_secret")


def delivery_context(request: HttpRequest, delivery: Delivery) -> dict[str, Any]:
    secrets = addresses.place_of(delivery.address_id).secrets
    text = bytes(delivery.body[: BODY_SHOWN * 4]).decode(errors="replace")
    return {
        "delivery": delivery,
        "original": delivery,
        "badge": badge(delivery.state, delivery.get_state_display()),
        "url": shown_url(delivery, secrets),
        "headers": shown_headers(delivery.headers, secrets),
        "body": redact(text[:BODY_SHOWN], secrets),
        "cut": len(text) > BODY_SHOWN or delivery.size > BODY_SHOWN * 4,
        "events": [(one, badge(one.state, one.get_state_display())) for one in events_of(person(request), delivery)],
        "may_replay": may_change_address(request, delivery.address),
    }


def events_of(user: User, delivery: Delivery) -> Iterable[InboxEvent]:
    """Of connections that this person does not see, nothing."""
    seen = overview.visible_events(user).filter(delivery=delivery).select_related("connection").defer("connection__credentials")
    return seen.order_by("pk")[:EVENTS_SHOWN]


def shown_headers(headers: dict[str, str], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Whatever may prove who somebody is stays hidden."""
    hidden = {name for name in headers if any(word in name for word in TELLING)}
    return [(name, MASK if name in hidden else redact(value, secrets)) for name, value in sorted(headers.items())]


def shown_url(delivery: Delivery, secrets: Iterable[str]) -> str:
    """The name of the address is all that keeps strangers from one without verification."""
    return redact(delivery.url, secrets)
