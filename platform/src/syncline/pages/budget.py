"""The page of a connection's call allowances: what the vendor grants, what was used today, by whom, and what holds us up."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from syncline.connections import budget_overview
from syncline.connections.budget import Lane
from syncline.connections.budget_overview import Shown, Use
from syncline.contract import ConfigError

from .base import ConnectionAdmin
from .display import badge

LANES: Final = {
    Lane.INTERACTIVE: "people and single records",
    Lane.CHANGE: "what just changed",
    Lane.SCHEDULED: "schedules",
    Lane.BACKFILL: "backfills",
}
SPANS: Final = {86_400.0: "a day", 3_600.0: "an hour", 60.0: "a minute", 1.0: "a second"}


def page(admin: ConnectionAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    connection = admin.found(request, object_id)
    try:
        shown, problem = budget_overview.overview(connection), ""
    except ConfigError as error:
        shown, problem = [], str(error)
    context = admin.page(
        request,
        title=f"Call allowance of {connection.name}",
        connection=connection,
        budgets=[described(one) for one in shown],
        problem=problem,
    )
    return TemplateResponse(request, "admin/syncline/connection/budget.html", context)


def described(one: Shown) -> dict[str, Any]:
    return {
        "shown": one,
        "badge": state(one),
        "grants": f"{one.size:,} calls in {span(one.limit.window)}",
        "expected": f"{one.limit.size:,}",
        "shared": "all apps of the account" if one.limit.scope == "account" else "this app in this account",
        "left": left(one),
        "lanes": [(LANES[lane].capitalize(), figures(use)) for lane, use in one.today.lanes],
        "days": [(day, figures(day.total)) for day in one.days if day.total.calls or day.total.refused],
    }


def state(one: Shown) -> SafeString:
    if one.paused:
        return badge("reconnect", "paused by the system")
    if one.used_up:
        return badge("reconnect", "used up")
    if one.row is None:
        return badge("", "not used yet")
    return badge("running", "busy") if one.ahead > 0.5 else badge("ok", "free")


def span(seconds: float) -> str:
    return SPANS.get(seconds, f"{seconds:g} seconds")


def left(one: Shown) -> dict[str, Any] | None:
    """Of a counted allowance, as far as it is known."""
    if not one.counted or one.row is None or one.row.remaining is None:
        return None
    used = max(0, one.size - one.row.remaining)
    return {"calls": f"{one.row.remaining:,}", "of": f"{one.size:,}", "used": used, "size": one.size}


def figures(use: Use) -> dict[str, str]:
    waited = f"{use.waited:.2f} s" if use.calls else "–"
    return {"calls": f"{use.calls:,}", "refused": f"{use.refused:,}", "waited": waited}
