"""Plans: made by POST, read row by row, applied by POST."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import exceptions, serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncline.connections import access
from syncline.contract import SynclineError
from syncline.ledger.reading import may_read
from syncline.runs import overview as run_overview
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan import overview
from syncline.runs.plan.start import start_apply, start_plan
from syncline.syncs.models import Sync

from .serializers import RunSerializer
from .views import REFUSED, ReadingViewSet, Refused

if TYPE_CHECKING:
    RowBase = serializers.ModelSerializer[PlanRow]
    Plain = serializers.Serializer[Run]
else:
    RowBase = serializers.ModelSerializer
    Plain = serializers.Serializer


class PlanRowSerializer(RowBase):
    """`changes`: property → [value there, value to write]. `kept`: property → [value there, ours, write mode]."""

    class Meta:
        model = PlanRow
        fields = ("id", "local_key", "remote_id", "action", "state", "reason", "changes", "kept", "associations")


class PlanRequestSerializer(Plain):
    sync = serializers.IntegerField(help_text="The sync to plan.")


class PlanViewSet(ReadingViewSet):
    """Plans with what they counted, newest first; `?sync=` for one sync's. They are runs, and cancelled as these."""

    serializer_class = RunSerializer
    queryset = Run.objects.none()

    def get_queryset(self) -> QuerySet[Run]:
        runs = run_overview.visible_runs(self.user).select_related("sync__connection__owner").order_by("-id")
        plans, asked = runs.filter(kind=Run.Kind.PLAN), self.request.query_params.get("sync", "")
        return plans.filter(sync=int(asked)) if asked.isdecimal() else plans

    @extend_schema(request=PlanRequestSerializer, responses={201: RunSerializer, 409: REFUSED}, description="Makes a plan.")
    def create(self, request: Request) -> Response:
        asked = PlanRequestSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        seen = Sync.objects.filter(connection__in=access.visible_connections(self.user)).select_related("connection__owner")
        sync = get_object_or_404(seen.select_related("current"), pk=asked.validated_data["sync"])
        self.refuse_unless_runnable(sync.connection)
        return self._started(lambda: start_plan(sync, trigger="api", user=self.user))

    @extend_schema(
        parameters=[
            OpenApiParameter("action", str, enum=[one.value for one in PlanRow.Action]),
            OpenApiParameter("state", str, enum=[one.value for one in PlanRow.State]),
        ],
        responses=PlanRowSerializer(many=True),
        description="What would be written, record by record. It takes the right to read the records.",
    )
    @action(detail=True, methods=["get"])
    def rows(self, request: Request, **_pk: str) -> Response:
        plan = self.get_object()
        if not may_read(self.user, plan.sync.dataset):
            raise exceptions.PermissionDenied(f"You may not read {plan.sync.dataset}.")
        asked = {name: request.query_params.get(name, "") for name in ("action", "state")}
        page = self.paginate_queryset(overview.rows(plan, **asked))
        return self.get_paginated_response(PlanRowSerializer(page, many=True).data)

    @extend_schema(
        request=None,
        responses={201: RunSerializer, 409: REFUSED},
        description="Writes exactly the planned values, where the records are still as they were. Answers the run that does so.",
    )
    @action(detail=True, methods=["post"])
    def apply(self, _request: Request, **_pk: str) -> Response:
        plan = self.get_object()
        self.refuse_unless_runnable(plan.sync.connection)
        return self._started(lambda: start_apply(plan, trigger="api", user=self.user))

    def _started(self, start: Callable[[], Run]) -> Response:
        try:
            run = start()
        except SynclineError as error:
            raise Refused(str(error)) from error
        run.refresh_from_db()
        return Response(RunSerializer(run).data, status=status.HTTP_201_CREATED)
