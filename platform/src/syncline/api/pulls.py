"""What pulls leave for a person: records that found no place, and fields that both sides changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncline.connections import access
from syncline.contract import SynclineError
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Conflict
from syncline.ledger.reading import readable
from syncline.runs.models import Run
from syncline.runs.outcome import next_step
from syncline.runs.pull import decide, placing

from .serializers import RunSerializer
from .views import REFUSED, ReadingViewSet, Refused

if TYPE_CHECKING:
    ArrivalBase = serializers.ModelSerializer[Arrival]
    ConflictBase = serializers.ModelSerializer[Conflict]
    Plain = serializers.Serializer[Any]
else:
    ArrivalBase = ConflictBase = serializers.ModelSerializer
    Plain = serializers.Serializer


class ArrivalSerializer(ArrivalBase):
    next_step = serializers.SerializerMethodField()

    class Meta:
        model = Arrival
        fields = ("id", "sync", "remote_id", "title", "state", "code", "reason", "next_step", "local_key", "since", "checked_at")

    def get_next_step(self, one: Arrival) -> str:
        return next_step(one.code, pulled=True)


class ConflictSerializer(ConflictBase):
    """`here`, `there`: both sides' values, as they were at `at`. `decision`: "" while it is open."""

    local_key = serializers.CharField(source="link.local_key")
    remote_id = serializers.CharField(source="link.remote_id", allow_null=True)

    class Meta:
        model = Conflict
        fields = (
            "id", "sync", "local_key", "remote_id", "field", "property", "here", "there", "at", "decision", "decided_at",
        )  # fmt: skip


class LocalKeySerializer(Plain):
    local_key = serializers.CharField(max_length=100, help_text="Of our record that it is.")


class SideSerializer(Plain):
    side = serializers.ChoiceField([("here", "ours holds"), ("there", "theirs holds")])


_OF_SYNC = OpenApiParameter("sync", int, description="Only those of this sync.")


class PulledViewSet(ReadingViewSet):
    """Rows of syncs over the person's connections whose datasets the person may read."""

    def of_person(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        seen = rows.filter(sync__connection__in=access.visible_connections(self.user), sync__dataset__in=readable(self.user))
        asked = self.request.query_params.get("sync", "")
        return seen.filter(sync=int(asked)) if asked.isdecimal() else seen

    def started(self, obj: Any, sentence: str, start: Callable[[], Run]) -> Response:
        """The run that carries the decision out; the decision stands in the row's history, as if it had been made on its page."""
        self.refuse_unless_runnable(obj.sync.connection)
        try:
            run = start()
        except SynclineError as error:
            raise Refused(str(error)) from error
        LogEntry.objects.log_actions(self.user.pk, [obj], CHANGE, sentence, single_object=True)
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)


class ArrivalViewSet(PulledViewSet):
    """Records of an account that could not be stored here, each with the reason and what can be done. Newest first.

    Deciding takes the permission `syncline.resolve_arrival`.
    """

    serializer_class = ArrivalSerializer
    queryset = Arrival.objects.none()

    def get_queryset(self) -> QuerySet[Arrival]:
        related = Arrival.objects.select_related("sync__connection__owner", "sync__current")
        rows = self.of_person(related).order_by("-id")
        asked = self.request.query_params.get("state", "")
        return rows.filter(state=asked) if asked in Link.State.values else rows

    @extend_schema(parameters=[_OF_SYNC, OpenApiParameter("state", str, enum=Link.State.values)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(request=None, responses={201: RunSerializer, 409: REFUSED}, description="Fetches it again, at once.")
    @action(detail=True, methods=["post"], url_path="try-again")
    def try_again(self, _request: Request, **_pk: str) -> Response:
        one = self.get_object()
        return self.started(one, "Tried again through the API.", lambda: _only(placing.try_again([one], self.user)))

    @extend_schema(
        request=None, responses={201: RunSerializer, 409: REFUSED}, description="It is a record of its own, and is created here."
    )
    @action(detail=True, methods=["post"], url_path="create")
    def create_here(self, _request: Request, **_pk: str) -> Response:
        one = self.get_object()
        return self.started(one, "Created here through the API.", lambda: _only(placing.create([one], self.user)))

    @extend_schema(
        request=LocalKeySerializer,
        responses={201: RunSerializer, 409: REFUSED},
        description="It is the record of ours with this key.",
    )
    @action(detail=True, methods=["post"])
    def link(self, request: Request, **_pk: str) -> Response:
        one, asked = self.get_object(), LocalKeySerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        key = asked.validated_data["local_key"]
        return self.started(one, f"Linked to {key} through the API.", lambda: placing.link_to(one, key, self.user))


def _only(runs: Iterable[Run]) -> Run:
    return next(iter(runs))


class ConflictViewSet(PulledViewSet):
    """Fields that both sides changed, the open ones; `?decided=true` for those that are decided. Newest first."""

    serializer_class = ConflictSerializer
    queryset = Conflict.objects.none()

    def get_queryset(self) -> QuerySet[Conflict]:
        rows = self.of_person(Conflict.objects.select_related("sync__connection__owner", "sync__current", "link"))
        if self.action == "list":
            rows = rows.filter(decided_at__isnull=self.request.query_params.get("decided", "") != "true")
        return rows.order_by("-id")

    @extend_schema(parameters=[_OF_SYNC, OpenApiParameter("decided", bool)])
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(
        request=SideSerializer,
        responses={200: ConflictSerializer, 409: REFUSED},
        description="That side's value holds and is carried over at once. Takes the permission `syncline.decide_conflict`.",
    )
    @action(detail=True, methods=["post"])
    def decide(self, request: Request, **_pk: str) -> Response:
        one, asked = self.get_object(), SideSerializer(data=request.data)
        self.refuse_unless_runnable(one.sync.connection)
        asked.is_valid(raise_exception=True)
        side = asked.validated_data["side"]
        try:
            decide.decide(one, side, self.user)
        except SynclineError as error:
            raise Refused(str(error)) from error
        one.refresh_from_db()
        said = f"Decided through the API: {one.get_decision_display()}."
        LogEntry.objects.log_actions(self.user.pk, [one], CHANGE, said, single_object=True)
        return Response(ConflictSerializer(one).data)
