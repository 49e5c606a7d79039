"""What the API tells about connections, syncs and runs. No settings, no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rest_framework import serializers

from syncline.connections.models import Connection
from syncline.runs.models import Run
from syncline.runs.stream.standing import State
from syncline.syncs.models import Sync

if TYPE_CHECKING:
    ConnectionBase = serializers.ModelSerializer[Connection]
    SyncBase = serializers.ModelSerializer[Sync]
    RunBase = serializers.ModelSerializer[Run]
    Plain = serializers.Serializer[Run]
    Shown = serializers.Serializer[Any]
else:
    ConnectionBase = SyncBase = RunBase = serializers.ModelSerializer
    Plain = Shown = serializers.Serializer


class ConnectionSerializer(ConnectionBase):
    class Meta:
        model = Connection
        fields = ("id", "connector", "name", "account_id", "account_name", "state", "state_reason", "checked_at")


class SyncSerializer(SyncBase):
    version = serializers.IntegerField(source="current.number", default=None, help_text="The published mapping, null for none.")
    last_run = serializers.IntegerField(source="last_run_id", allow_null=True)
    last_run_state = serializers.ChoiceField(Run.State.choices, allow_null=True)

    class Meta:
        model = Sync
        fields = (
            "id", "name", "connection", "dataset", "object_type", "direction", "mode", "segment", "cron", "continuous", "enabled",
            "version", "next_due_at", "last_run", "last_run_state",
        )  # fmt: skip


class RunSerializer(RunBase):
    """Counts of an active run are what its parts have counted so far."""

    version = serializers.IntegerField(source="version.number")

    class Meta:
        model = Run
        fields = (
            "id", "sync", "version", "kind", "plan", "state", "trigger", "reason", "created_at", "started_at", "finished_at",
            *Run.NAMES,
        )  # fmt: skip


class KeysSerializer(Plain):
    keys = serializers.ListField(child=serializers.CharField(max_length=100), min_length=1, max_length=1000)


class RunRequestSerializer(Plain):
    kind = serializers.ChoiceField(
        [(one.value, one.label) for one in (Run.Kind.FULL, Run.Kind.CHANGES, Run.Kind.RETRY)], default=Run.Kind.FULL.value
    )


class StreamPartSerializer(Shown):
    """A partition of a remote log, or a shard of ours. `behind`: null where it is not known yet."""

    kind = serializers.ChoiceField([("relay", "messages passed on"), ("stream", "what comes, as it comes")], source="row.kind")
    partition = serializers.CharField(source="row.partition")
    carried = serializers.BooleanField(help_text="Whether a process carries it out.")
    position = serializers.CharField(help_text="Of the next message; empty for the oldest, and for shards.")
    behind = serializers.IntegerField(allow_null=True)
    rate = serializers.FloatField(source="row.rate", allow_null=True, help_text="Messages a second, lately.")
    last_error = serializers.CharField(source="row.last_error")
    next_try = serializers.DateTimeField(source="row.not_before")


class StreamSerializer(Shown):
    """How a continuous sync stands. `oldest`: when the oldest message that waits to be passed on arrived here."""

    state = serializers.ChoiceField([(one.value, one.value) for one in State])
    reason = serializers.CharField(help_text="What keeps it from going on, and what to do.")
    run = serializers.IntegerField(source="run.pk", default=None, allow_null=True)
    behind = serializers.IntegerField(allow_null=True)
    rate = serializers.FloatField()
    oldest = serializers.DateTimeField(allow_null=True)
    dead_letters = serializers.IntegerField(source="open_letters", help_text="Those that wait for a person.")
    parts = StreamPartSerializer(many=True)
