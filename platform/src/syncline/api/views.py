"""Connections, syncs and runs, as far as the person may see them. Runs are started and cancelled by POST."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import exceptions, mixins, pagination, permissions, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncline.connections import access
from syncline.connections.models import Connection
from syncline.contract import SynclineError
from syncline.runs import overview, progress, removals, start
from syncline.runs.models import Run
from syncline.runs.stream import standing
from syncline.syncs.models import Sync

from .serializers import (
    ConnectionSerializer,
    KeysSerializer,
    RunRequestSerializer,
    RunSerializer,
    StreamSerializer,
    SyncSerializer,
)

if TYPE_CHECKING:
    Viewing = viewsets.GenericViewSet[Any]
else:
    Viewing = viewsets.GenericViewSet

REFUSED = OpenApiResponse(description="It cannot be done now; `detail` says why and what to do.")


class Refused(exceptions.APIException):
    """What a SynclineError says, as an answer."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "refused"


class Pages(pagination.PageNumberPagination):
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200


class ReadingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, Viewing):
    permission_classes = [permissions.IsAuthenticated]
    pagination_class = Pages
    filter_backends: list[Any] = []

    @property
    def user(self) -> User:
        return cast(User, self.request.user)

    def refuse_unless_runnable(self, connection: Connection) -> None:
        if not access.may_run(self.user, connection):
            raise exceptions.PermissionDenied(f"You may not run syncs over {connection.name}. Ask its owner for a grant.")


class ConnectionViewSet(ReadingViewSet):
    """The connections you own or were granted."""

    serializer_class = ConnectionSerializer
    queryset = Connection.objects.none()

    def get_queryset(self) -> QuerySet[Connection]:
        return access.visible_connections(self.user).defer("credentials", "settings").order_by("id")


class SyncViewSet(ReadingViewSet):
    """The syncs over these connections, each with its last run."""

    serializer_class = SyncSerializer
    queryset = Sync.objects.none()

    def get_queryset(self) -> QuerySet[Sync]:
        seen = Sync.objects.filter(connection__in=access.visible_connections(self.user))
        related = seen.select_related("connection__owner", "current").defer("connection__credentials", "current__content")
        found: QuerySet[Sync] = overview.with_last_run(related).order_by("id")
        return found

    @extend_schema(
        request=RunRequestSerializer,
        responses={201: RunSerializer, 409: REFUSED},
        description="Starts a run: `full`, `retry` for the records with problems or, where the sync pulls, `changes` for what"
        " changed there since the last time.",
    )
    @action(detail=True, methods=["post"])
    def run(self, request: Request, **_pk: str) -> Response:
        sync = self.get_object()
        self.refuse_unless_runnable(sync.connection)
        asked = RunRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        if asked.validated_data["kind"] == Run.Kind.CHANGES and sync.direction == Sync.Direction.PUSH:
            raise Refused("This sync only pushes; what changes here is pushed by its own schedule. Start a full run.")
        try:
            run = start.start_run(sync, kind=asked.validated_data["kind"], trigger="api", user=self.user)
        except SynclineError as error:
            raise Refused(str(error)) from error
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        request=KeysSerializer,
        responses={201: RunSerializer, 409: REFUSED},
        description="Pushes just these records, before everything else: as part of the active run, or by a run of their own.",
    )
    @action(detail=True, methods=["post"])
    def push(self, request: Request, **_pk: str) -> Response:
        sync = self.get_object()
        self.refuse_unless_runnable(sync.connection)
        asked = KeysSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        try:
            run = start.push_keys(sync, asked.validated_data["keys"], trigger="api", user=self.user)
        except SynclineError as error:
            raise Refused(str(error)) from error
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)

    @extend_schema(
        responses={200: StreamSerializer, 409: REFUSED},
        description="How a continuous sync stands: who carries it out, how far it came, what keeps it from going on.",
    )
    @action(detail=True, methods=["get"])
    def stream(self, _request: Request, **_pk: str) -> Response:
        sync = self.get_object()
        if not sync.continuous:
            raise Refused(f"{sync.name} is not continuous; see its runs.")
        return Response(StreamSerializer(standing.of_sync(sync)).data)


class RunViewSet(ReadingViewSet):
    """Runs with their counts, newest first; `?sync=` for one sync's."""

    serializer_class = RunSerializer
    queryset = Run.objects.none()

    def get_queryset(self) -> QuerySet[Run]:
        runs = overview.visible_runs(self.user).select_related("sync__connection__owner").order_by("-id")
        asked = self.request.query_params.get("sync", "")
        return runs.filter(sync=int(asked)) if asked.isdecimal() else runs

    def paginate_queryset(self, queryset: Any) -> Any:
        page = super().paginate_queryset(queryset)
        return None if page is None else progress.with_counts(page)

    def get_object(self) -> Any:
        return progress.with_counts([super().get_object()])[0]

    @extend_schema(
        request=None,
        responses={200: RunSerializer, 409: REFUSED},
        description="Workers stop at their next batch; what was recorded stays.",
    )
    @action(detail=True, methods=["post"])
    def cancel(self, _request: Request, **_pk: str) -> Response:
        run = self.get_object()
        self.refuse_unless_runnable(run.sync.connection)
        if run.state not in Run.ACTIVE:
            raise Refused("This run has ended already; there is nothing to cancel.")
        start.cancel(run)
        return self.told(run, "Cancelled through the API.")

    @extend_schema(
        request=None, responses={200: RunSerializer, 409: REFUSED}, description="Nothing new is sent until it is resumed."
    )
    @action(detail=True, methods=["post"])
    def pause(self, _request: Request, **_pk: str) -> Response:
        run = self.get_object()
        self.refuse_unless_runnable(run.sync.connection)
        if not start.pause(run):
            raise Refused("This run is not under way; there is nothing to pause.")
        return self.told(run, "Paused through the API.")

    @extend_schema(request=None, responses={200: RunSerializer, 409: REFUSED}, description="It goes on where it stood.")
    @action(detail=True, methods=["post"])
    def resume(self, _request: Request, **_pk: str) -> Response:
        run = self.get_object()
        self.refuse_unless_runnable(run.sync.connection)
        if not start.resume(run):
            raise Refused("This run is not paused.")
        return self.told(run, "Resumed through the API.")

    @extend_schema(
        request=None,
        responses={201: RunSerializer, 409: REFUSED},
        description="Starts a run that removes exactly what this one withheld, as far as it is still not part of the sync."
        " Needs the permission `syncline.approve_removal`.",
    )
    @action(detail=True, methods=["post"], url_path="approve-removals")
    def approve_removals(self, _request: Request, **_pk: str) -> Response:
        run = self.get_object()
        self.refuse_unless_runnable(run.sync.connection)
        try:
            started = removals.approve(run, self.user)
        except SynclineError as error:
            raise Refused(str(error)) from error
        LogEntry.objects.log_actions(self.user.pk, [run], CHANGE, "Removals approved through the API.", single_object=True)
        started.refresh_from_db()
        return Response(RunSerializer(started).data, status=status.HTTP_201_CREATED)

    def told(self, run: Run, sentence: str) -> Response:
        """The run as it is now; what was done stands in its history, as if it had been done on its page."""
        LogEntry.objects.log_actions(self.user.pk, [run], CHANGE, sentence, single_object=True)
        run.refresh_from_db()
        return Response(RunSerializer(run).data)
