"""What the buttons of a sync's page do."""

from __future__ import annotations

from typing import Any, cast

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse

from syncline.catalog import service as catalog
from syncline.contract import ConfigError
from syncline.runs.models import Run
from syncline.runs.start import pause, resume, start_run
from syncline.syncs import overlap
from syncline.syncs import publish as publishing
from syncline.syncs.models import Sync

from . import directions, drift, plans, positions
from .base import Answered, ObjectAction, person


def confirm(page: Any, request: HttpRequest, sync: Sync, name: str, **context: Any) -> None:
    """Shows what will happen first; goes on when the person has agreed."""
    if request.POST.get("confirmed"):
        return
    context = page.page(
        request,
        action=reverse("admin:syncline_sync_do", args=[sync.pk, name]),
        back=page.address(sync),
        original=sync,
        **context,
    )
    raise Answered(TemplateResponse(request, "syncline/confirm.html", context))


def suggest(page: Any, request: HttpRequest, sync: Sync) -> str:
    if number := sync.rules.count():
        confirm(
            page,
            request,
            sync,
            "suggest",
            title="Replace the draft by the suggested mapping?",
            sentence=f"The draft has {number} rules. They are replaced by the connector's suggestion for "
            f"{sync.dataset} and {sync.object_type}. Published versions stay as they are.",
            label="Replace the draft",
        )
    suggested = publishing.apply_suggestion(sync)
    return f"The draft is now the suggested mapping: {len(suggested.rules)} rules. Look through it, then publish it."


def create_properties(page: Any, request: HttpRequest, sync: Sync) -> str:
    missing = publishing.missing_properties(sync)
    if not missing:
        raise ConfigError("The account has every property the draft writes; there is nothing to create.")
    confirm(
        page,
        request,
        sync,
        "create-properties",
        title="Create missing properties?",
        sentence=f"These properties are created in {sync.connection.account_name or sync.connection.name}, "
        f"object {sync.object_type}.",
        items=[f"{one.label} ({one.name}): {one.kind}" for one in missing],
        label=f"Create {len(missing)} properties",
    )
    object_type = catalog.object_type(sync.connection, sync.object_type)
    catalog.create_missing(sync.connection, object_type, missing)
    return f"Created in the account: {', '.join(one.name for one in missing)}."


def publish(page: Any, request: HttpRequest, sync: Sync) -> str:
    before = sync.current_id
    try:
        version = publishing.publish(sync, person(request))
    except PermissionDenied as error:
        raise ConfigError(str(error)) from error
    if version.pk == before:
        return f"The draft says what version {version.number} says, and the account is as it was; nothing had to be published."
    return f"Published as version {version.number}. Runs that start from now on use it. {overlap.warning(sync)}".strip()


def run(page: Any, request: HttpRequest, sync: Sync) -> str:
    started = start_run(sync, user=person(request))
    return f"Run {started.pk} is queued."


def pull_changes(page: Any, request: HttpRequest, sync: Sync) -> str:
    if not directions.pulls(sync):
        raise ConfigError("This sync pushes only; what changes here is pushed by its own schedule.")
    started = start_run(sync, kind=Run.Kind.CHANGES, user=person(request))
    return f"Run {started.pk} is queued: it pulls what changed there since the last time."


def retry(page: Any, request: HttpRequest, sync: Sync) -> str:
    started = start_run(sync, kind=Run.Kind.RETRY, user=person(request))
    return f"Run {started.pk} is queued: it tries the records with problems again."


def hold(page: Any, request: HttpRequest, sync: Sync) -> str:
    if not any(pause(run) for run in _active(sync)):
        raise ConfigError("It is not under way; there is nothing to pause. To keep it from beginning, switch it off.")
    return "It is paused: what is under way is finished first. Resume it to go on where it stood."


def go_on(page: Any, request: HttpRequest, sync: Sync) -> str:
    if not any(resume(run) for run in _active(sync)):
        raise ConfigError("It is not paused.")
    return "It goes on where it stood."


def _active(sync: Sync) -> list[Run]:
    return list(sync.runs.filter(state__in=Run.ACTIVE))


def _newest_run(obj: Any) -> str:
    newest = cast(Sync, obj).runs.order_by("-id").first()
    if newest is None:
        return reverse("admin:syncline_sync_change", args=[obj.pk])
    return reverse("admin:syncline_run_change", args=[newest.pk])


ACTIONS = {
    "suggest": ObjectAction(suggest),
    "create-properties": ObjectAction(create_properties),
    "publish": ObjectAction(publish),
    "leave-out": ObjectAction(drift.leave_out),
    "refresh-catalog": ObjectAction(drift.refresh, "run"),
    "run": ObjectAction(run, "run", _newest_run),
    "changes": ObjectAction(pull_changes, "run", _newest_run),
    "retry": ObjectAction(retry, "run", _newest_run),
    "set-position": ObjectAction(positions.set_by_form, "run"),
    "reset-position": ObjectAction(positions.reset, "run"),
    "pause": ObjectAction(hold, "run"),
    "resume": ObjectAction(go_on, "run"),
    "plan": ObjectAction(plans.plan, "run", _newest_run),
}
