"""How far a sync's pulls came: on its page, with a form to set it while the sync rests."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from syncline.contract import ConfigError
from syncline.runs.models import Run
from syncline.runs.pull import moving, window
from syncline.runs.stream import moving as logs
from syncline.syncs.models import Sync

from . import directions
from .base import Context, person

REFUSED = (
    "You may not move positions. Ask somebody with the permission “Can set how far a pull came” who may run this connection's"
    " syncs."
)


def context(sync: Sync) -> Context:
    if not directions.pulls(sync):
        return {}
    if logs.is_log(sync):
        return {"places": logs.places(sync), "places_rest": _rests(sync)}
    mark = window.of(sync)
    return {
        "position_told": moving.told(sync),
        "position_until": mark.seen_until if mark else None,
        "position_busy": Run.objects.filter(sync=sync, state__in=Run.ACTIVE).order_by("-pk").values_list("pk", flat=True).first(),
    }


def _rests(sync: Sync) -> bool:
    """Whether a position may be set: it is paused or switched off, or does nothing yet."""
    going = Run.objects.filter(sync=sync, state__in=(Run.State.QUEUED, Run.State.RUNNING)).exists()
    return not (sync.enabled and going)


def set_by_form(page: Any, request: HttpRequest, sync: Sync) -> str:
    _refuse_unless_allowed(request)
    if logs.is_log(sync):
        return logs.move(sync, request.POST.get("moment", "").strip(), request.POST.get("partition"))
    return moving.move(sync, moving.moment(request.POST.get("moment", "")))


def reset(page: Any, request: HttpRequest, sync: Sync) -> str:
    _refuse_unless_allowed(request)
    return logs.move(sync, None, request.POST.get("partition")) if logs.is_log(sync) else moving.move(sync, None)


def _refuse_unless_allowed(request: HttpRequest) -> None:
    if not person(request).has_perm(moving.PERMISSION):
        raise ConfigError(REFUSED)
