"""Messages that could not be taken in: the list, the page of one, and what a person decides about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from syncline.connections.models import Connection
from syncline.connections.secrets import MASK
from syncline.ledger.messages import DeadLetter
from syncline.ledger.reading import readable
from syncline.runs.models import Run
from syncline.runs.outcome import letter_step
from syncline.runs.stream import retry

from .base import Context, ObjectAction, person, rights
from .bulk import DecidingAdmin
from .display import badge, shortened
from .filters import Choices, ConnectionOfRun, SyncFilter
from .inbox import TELLING

BODY_SHOWN: Final = 20_000
HEX_SHOWN: Final = 2_048
HEADERS_SHOWN: Final = 100
State = DeadLetter.State
_TONES: Final = {State.OPEN: "failed", State.TAKEN: "ok", State.DISMISSED: ""}


def try_again(page: Any, request: HttpRequest, one: DeadLetter) -> str:
    return f"Tried again: {retry.try_again([one], person(request))}"


def dismiss(page: Any, request: HttpRequest, one: DeadLetter) -> str:
    done = retry.dismiss([one], person(request))
    return "Dismissed: it is not taken in." if done else "Nothing to do: it was decided already."


class LetterState(admin.SimpleListFilter):
    """The open ones, unless others are asked for."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(State.TAKEN.value, "Taken in later"), (State.DISMISSED.value, "Dismissed"), ("all", "All")]

    def choices(self, changelist: Any) -> Any:
        first, *rest = super().choices(changelist)
        yield {**first, "display": "Open"}
        yield from rest

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset if self.value() == "all" else queryset.filter(state=self.value() or State.OPEN)


class CodeFilter(admin.SimpleListFilter):
    """The causes that there are among those the person may see."""

    title = "cause"
    parameter_name = "code"
    column = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        found = model_admin.get_queryset(request).order_by(self.column).values_list(self.column, flat=True).distinct()
        return [(one, one.replace("_", " ")) for one in found[:50] if one]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class PartitionFilter(CodeFilter):
    title = "partition"
    parameter_name = "partition"
    column = "partition"


@admin.register(DeadLetter)
class DeadLetterPage(DecidingAdmin):
    connection_lookup = "sync__connection"
    list_title = "Dead letters: messages that could not be taken in"
    list_display = ["message", "status", "into", "when"]
    list_filter = [LetterState, CodeFilter, PartitionFilter, SyncFilter, ConnectionOfRun]
    list_select_related = ["sync__connection"]
    search_fields = ["key__exact", "message_id__exact", "remote_id__exact"]
    search_help_text = "Key, the message’s own id, or its place such as 0:17, exactly"
    ordering = ["-id"]
    actions = ["try_again_all", "dismiss_all"]
    object_actions = {"try-again": ObjectAction(try_again, "run"), "dismiss": ObjectAction(dismiss, "run")}

    def connection_of(self, obj: Any) -> Connection:
        return cast(DeadLetter, obj).sync.connection

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        related = super().get_queryset(request).select_related("sync__connection__owner", "sync__current", "sync__source__owner")
        secret = ("sync__connection__credentials", "sync__source__credentials")
        return related.defer(*secret) if not self._is_list(request) else related.defer(*secret, "sync__current__content")

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        return rows.defer("body", "headers", "properties")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet[Any], search_term: str) -> tuple[QuerySet[Any], bool]:
        """Only among what the person may read: a key that is found is a key that is told."""
        found, doubled = super().get_search_results(request, queryset, search_term)
        return (found.filter(sync__dataset__in=readable(person(request))) if search_term.strip() else found), doubled

    def enrich(self, request: HttpRequest, rows: list[Any]) -> list[Any]:
        known = readable(person(request))
        for one in rows:
            one.readable = one.sync.dataset in known
        return rows

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        one = self.enrich(request, [self.found(request, object_id)])[0]
        context = self.page(request, title=f"Message {one.remote_id} of {one.sync.object_type}", **letter_context(request, one))
        return TemplateResponse(request, "admin/syncline/deadletter/page.html", context)

    @admin.action(description="Try again: map and write them once more")
    def try_again_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        user = person(request)
        self.decide_many(request, queryset, lambda rows: f"Tried again: {retry.try_again(rows, user)}")

    @admin.action(description="Dismiss: they are not taken in")
    def dismiss_all(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        user = person(request)
        self.decide_many(request, queryset, lambda rows: f"Dismissed {retry.dismiss(rows, user):,} messages.")

    @admin.display(description="message", ordering="id")
    def message(self, obj: Any) -> SafeString:
        key = "no key" if obj.key is None else f"key {shortened(obj.key, 60)}"
        return format_html(
            '{} {}<span class="below">{}</span>', obj.sync.object_type, obj.remote_id, key if obj.readable else "key not shown"
        )

    @admin.display(description="why, next step", ordering="code")
    def status(self, obj: DeadLetter) -> SafeString:
        told = letter_step(obj.code) if obj.state == State.OPEN else ""
        return format_html('{} {}<span class="below">{}</span>', state_badge(obj), shortened(obj.reason, 200), told)

    @admin.display(description="sync", ordering="sync__name")
    def into(self, obj: DeadLetter) -> SafeString:
        return format_html('{}<span class="below">into {}</span>', obj.sync.name, obj.sync.dataset)

    @admin.display(description="refused (UTC)", ordering="at")
    def when(self, obj: DeadLetter) -> str:
        return f"{obj.at:%-d %b %Y %H:%M:%S}"


def state_badge(one: DeadLetter) -> SafeString:
    return badge(_TONES[State(one.state)], one.get_state_display())


def letter_context(request: HttpRequest, one: Any) -> Context:
    kept = bytes(one.body)
    text, cut = shown_body(kept) if one.readable else ("", False)
    return {
        "letter": one,
        "original": one,
        "badge": state_badge(one),
        "next_step": letter_step(one.code) if one.state == State.OPEN else "",
        "body": text,
        "cut": cut,
        "size": len(kept),
        "binary": text_of(kept) is None,
        "headers": shown_headers(one.headers) if one.readable else [],
        "values": sorted(one.properties.items()) if one.readable else [],
        "run": Run.objects.filter(pk=one.run_id, sync=one.sync_id).exists(),
        "rights": rights(request, one.sync.connection),
        "may_decide": retry.may_decide(person(request), one.sync),
        "can_retry": retry.can_retry(one),
        "is_open": one.state == State.OPEN,
    }


def text_of(body: bytes) -> str | None:
    """None for what is no text."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return None if any(ord(each) < 32 and each not in "\t\r\n" for each in text) else text


def shown_body(body: bytes) -> tuple[str, bool]:
    """As text, else as a table of its bytes; and whether it is cut."""
    text = text_of(body)
    if text is not None:
        return text[:BODY_SHOWN], len(text) > BODY_SHOWN
    return hexadecimal(body[:HEX_SHOWN]), len(body) > HEX_SHOWN


def hexadecimal(body: bytes) -> str:
    return "\n".join(_hex_line(start, body[start : start + 16]) for start in range(0, len(body), 16))


def _hex_line(start: int, some: bytes) -> str:
    readable_ = "".join(chr(each) if 32 <= each < 127 else "." for each in some)
    return f"{start:06x}  {some.hex(' '):<47}  {readable_}"


def shown_headers(headers: dict[str, str]) -> Sequence[tuple[str, str]]:
    """Whatever may prove who somebody is stays hidden."""
    hidden = {name for name in headers if any(word in name.lower() for word in TELLING)}
    return [(name, MASK if name in hidden else value) for name, value in sorted(headers.items())][:HEADERS_SHOWN]
