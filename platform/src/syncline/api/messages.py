"""Messages that could not be taken in: listed, tried again, dismissed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from syncline.contract import SynclineError
from syncline.ledger.messages import DeadLetter
from syncline.runs.outcome import letter_step
from syncline.runs.stream import retry

from .pulls import PulledViewSet
from .views import REFUSED, Refused

if TYPE_CHECKING:
    LetterBase = serializers.ModelSerializer[DeadLetter]
else:
    LetterBase = serializers.ModelSerializer


class DeadLetterSerializer(LetterBase):
    """`remote_id`: its partition and place. `sequence`, `happened_at`, `key`: null where its producer gave none."""

    next_step = serializers.SerializerMethodField()

    class Meta:
        model = DeadLetter
        fields = (
            "id", "sync", "partition", "remote_id", "message_id", "key", "sequence", "happened_at", "code", "property", "reason",
            "next_step", "state", "at", "published_at", "unpublishable",
        )  # fmt: skip

    def get_next_step(self, one: DeadLetter) -> str:
        return letter_step(one.code) if one.state == DeadLetter.State.OPEN else ""


class WholeLetterSerializer(DeadLetterSerializer):
    """With what it said: `properties`, as far as they could be read, and `body`, its bytes in base64."""

    body = serializers.SerializerMethodField()

    class Meta(DeadLetterSerializer.Meta):
        fields = (*DeadLetterSerializer.Meta.fields, "properties", "body")  # type: ignore[assignment]

    def get_body(self, one: DeadLetter) -> str:
        return base64.b64encode(bytes(one.body)).decode()


class DeadLetterViewSet(PulledViewSet):
    """Messages of logs that could not be taken in, each with the reason and what can be done. Newest first.

    Deciding takes the permission `syncline.resolve_deadletter`.
    """

    serializer_class = DeadLetterSerializer
    queryset = DeadLetter.objects.none()

    def get_serializer_class(self) -> Any:
        return DeadLetterSerializer if self.action == "list" else WholeLetterSerializer

    def get_queryset(self) -> QuerySet[DeadLetter]:
        related = DeadLetter.objects.select_related("sync__connection__owner", "sync__current", "sync__source__owner")
        rows = self.of_person(related).order_by("-id")
        for name in ("state", "code", "partition", "key"):
            if (asked := self.request.query_params.get(name)) is not None:
                rows = rows.filter(**{name: asked})
        return rows.defer("body", "headers", "properties") if self.action == "list" else rows

    @extend_schema(
        parameters=[
            OpenApiParameter("sync", int, description="Only those of this sync."),
            OpenApiParameter("state", str, enum=DeadLetter.State.values),
            OpenApiParameter("code", str, description="Only those with this cause."),
            OpenApiParameter("partition", str),
            OpenApiParameter("key", str, description="Only those of this key, exactly."),
        ]
    )
    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return super().list(request, *args, **kwargs)

    @extend_schema(
        request=None,
        responses={200: WholeLetterSerializer, 409: REFUSED},
        description="Maps and writes it once more, by the mapping as published now. `state` says whether it was taken in.",
    )
    @action(detail=True, methods=["post"], url_path="try-again")
    def try_again(self, _request: Request, **_pk: str) -> Response:
        return self._decided(lambda one: f"Tried again through the API: {retry.try_again([one], self.user)}")

    @extend_schema(request=None, responses={200: WholeLetterSerializer, 409: REFUSED}, description="It is not taken in.")
    @action(detail=True, methods=["post"])
    def dismiss(self, _request: Request, **_pk: str) -> Response:
        return self._decided(lambda one: "Dismissed through the API." if retry.dismiss([one], self.user) else "")

    def _decided(self, decide: Callable[[DeadLetter], str]) -> Response:
        one = self.get_object()
        self.refuse_unless_runnable(one.sync.connection)
        try:
            sentence = decide(one)
        except SynclineError as error:
            raise Refused(str(error)) from error
        if sentence:
            LogEntry.objects.log_actions(self.user.pk, [one], CHANGE, sentence, single_object=True)
        one.refresh_from_db()
        return Response(WholeLetterSerializer(one).data)
