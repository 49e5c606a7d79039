"""Decisions about many rows of a list at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest

from syncline.contract import SynclineError

from .base import ActionsAdmin, StockAdmin, person

MOST: Final = 5000


class DecidingAdmin(ActionsAdmin):
    """Its `actions` are offered above the list; deleting is not among them."""

    def get_actions(self, request: HttpRequest) -> Any:
        offered = StockAdmin.get_actions(self, request)
        return {name: one for name, one in offered.items() if name != "delete_selected"}

    def decide_many(self, request: HttpRequest, chosen: QuerySet[Any], decide: Callable[[Sequence[Any]], str]) -> None:
        """`decide` gives the sentence that is shown and kept in each row's history, or raises why nothing was done."""
        rows = list(chosen[: MOST + 1])
        if len(rows) > MOST:
            messages.error(request, f"These are more than {MOST:,}. Choose fewer of them, or filter the list.")
            return
        try:
            sentence = decide(rows)
        except SynclineError as error:
            messages.error(request, str(error))
            return
        LogEntry.objects.log_actions(person(request).pk, rows, CHANGE, sentence)
        messages.success(request, sentence)
