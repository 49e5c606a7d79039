"""List filters that offer only what this person may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from syncline.connections import access
from syncline.ledger.models import Link
from syncline.syncs.models import Sync

from .base import person

Choices = list[tuple[str, str]]
State = Link.State
ARRIVALS = {
    State.AMBIGUOUS: "for review",
    State.REJECTED: "rejected",
    State.EXCLUDED: "ours is gone",
    State.WAITING: "waiting for another record",
    State.PENDING: "not fetched yet",
}
REVIEW = (State.AMBIGUOUS, State.UNCERTAIN, State.MERGED, State.GONE)


class ConnectionFilter(admin.SimpleListFilter):
    title = "connection"
    parameter_name = "connection"
    lookup: ClassVar[str] = "connection"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        seen = access.visible_connections(person(request)).order_by("name").values_list("pk", "name")
        return [(str(pk), name) for pk, name in seen]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(**{self.lookup: value}) if value and value.isdecimal() else queryset


class ConnectionOfRun(ConnectionFilter):
    lookup = "sync__connection"


class SyncFilter(admin.SimpleListFilter):
    title = "sync"
    parameter_name = "sync"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        seen = Sync.objects.filter(connection__in=access.visible_connections(person(request)))
        return [(str(pk), name) for pk, name in seen.order_by("name").values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset.filter(sync=value) if value and value.isdecimal() else queryset


class ArrivalFilter(admin.SimpleListFilter):
    """The states that a record from there can wait in."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("person", "Needs a person"), *((state.value, label.capitalize()) for state, label in ARRIVALS.items())]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "person":
            return queryset.exclude(state__in=(State.WAITING, State.PENDING))
        return queryset.filter(state=self.value()) if self.value() else queryset


class OpenFilter(admin.SimpleListFilter):
    """What waits for a decision, unless something else is asked for."""

    title = "decision"
    parameter_name = "decision"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("decided", "Decided"), ("all", "All")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        first, *rest = super().choices(changelist)
        yield {**first, "display": "Open"}
        yield from rest

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(decided_at__isnull=self.value() != "decided")


class PairFilter(admin.SimpleListFilter):
    """Datasets and objects as the syncs pair them: asking the ledger itself would read all of it."""

    title = "records"
    parameter_name = "records"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        seen = Sync.objects.filter(connection__in=access.visible_connections(person(request)))
        pairs = seen.order_by("dataset", "object_type").values_list("dataset", "object_type").distinct()
        return [(f"{dataset} {object_type}", f"{dataset} → {object_type}") for dataset, object_type in pairs]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        dataset, _, object_type = (self.value() or "").partition(" ")
        return queryset.filter(dataset=dataset, object_type=object_type) if object_type else queryset


class AttentionFilter(admin.SimpleListFilter):
    title = "attention"
    parameter_name = "attention"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [("review", "For review"), ("rejected", "Rejected")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "review":
            return queryset.filter(state__in=REVIEW)
        return queryset.filter(state=State.REJECTED) if self.value() == "rejected" else queryset
