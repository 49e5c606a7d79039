"""What the ledger knows of messages: those to be passed on, those taken in, and those that could not be."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from syncline.syncs.models import Sync


class Outgoing(models.Model):
    """A message of a log dataset that a sync passes on. `event_id`: of its row, which also gives the order.

    `shard`: messages of one key are in one, and each shard is passed on by one worker at a time. `same`: it says what the
    latest of its key said, and goes no further. `remote_id`: its place in the remote log.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        PUBLISHED = "published", "published"
        UNCHANGED = "unchanged", "says nothing new"
        EXCLUDED = "excluded", "not in this sync"
        REFUSED = "refused", "refused"

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, models.CASCADE, related_name="outgoing")
    event_id = models.BigIntegerField()
    shard = models.SmallIntegerField()
    key = models.TextField(default="", db_default="", blank=True)
    same = models.BooleanField(default=False, db_default=False)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING, db_default=State.WAITING)
    code = models.CharField(max_length=30, default="", db_default="", blank=True)
    reason = models.TextField(default="", db_default="", blank=True)
    remote_id = models.CharField(max_length=200, default="", db_default="", blank=True)
    run_id = models.BigIntegerField(null=True, blank=True)
    queued_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "outgoing messages"
        constraints = (models.UniqueConstraint(fields=["sync", "event_id"], name="outgoing_event"),)
        indexes = (
            models.Index(fields=["sync", "shard", "event_id"], name="outgoing_waiting", condition=models.Q(state="waiting")),
            models.Index(fields=["event_id"], name="outgoing_of_event"),
        )

    def __str__(self) -> str:
        return f"message {self.event_id} of sync {self.sync_id}"


class Latest(models.Model):
    """What the latest message of a key said, so that the same again is noticed: unless it was refused or left out.

    `key`: a digest of object and remote id. `digest`: of its data.
    """

    sync = models.ForeignKey(Sync, models.CASCADE, related_name="+")
    key = models.TextField()
    digest = models.CharField(max_length=32)
    event_id = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "latest"
        constraints = (models.UniqueConstraint(fields=["sync", "key"], name="latest_of_key"),)

    def __str__(self) -> str:
        return f"{self.key}: {self.digest}"


class Incoming(models.Model):
    """A message of a remote log that changed something here, append-only. What changes nothing is a counter of the run.

    `remote_id`: its partition and place. `message_id`: its own name for itself. No foreign keys, so that old ones go cheaply.
    """

    id = models.BigAutoField(primary_key=True)
    sync_id = models.BigIntegerField()
    run_id = models.BigIntegerField()
    remote_id = models.CharField(max_length=200)
    message_id = models.TextField(default="", db_default="", blank=True)
    local_key = models.CharField(max_length=100)
    status = models.CharField(max_length=10)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "incoming messages"
        indexes = (
            models.Index(fields=["local_key", "sync_id", "-id"], name="incoming_of_record"),
            models.Index(fields=["run_id", "id"], name="incoming_run"),
        )

    def __str__(self) -> str:
        return f"{self.remote_id} {self.status} {self.local_key}"


class DeadLetter(models.Model):
    """A message that could not be taken in: what it was, byte for byte, and why.

    `properties`: what could be read of it. `published_at`: when it went to the remote log for such messages, if there is one.
    `unpublishable`: why that log refused it, so that it is here alone.
    """

    class State(models.TextChoices):
        OPEN = "open", "open"
        TAKEN = "taken", "taken in later"
        DISMISSED = "dismissed", "dismissed"

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, models.CASCADE, related_name="dead_letters")
    run_id = models.BigIntegerField()
    partition = models.CharField(max_length=100)
    remote_id = models.CharField(max_length=200)
    message_id = models.TextField(default="", db_default="", blank=True)
    key = models.TextField(null=True, blank=True)
    sequence = models.BigIntegerField(null=True, blank=True)
    happened_at = models.DateTimeField(null=True, blank=True)
    body = models.BinaryField()
    headers = models.JSONField(default=dict, db_default={})
    properties = models.JSONField(default=dict, db_default={})
    code = models.CharField(max_length=30)
    property = models.CharField(max_length=200, default="", db_default="", blank=True)
    reason = models.TextField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN, db_default=State.OPEN)
    published_at = models.DateTimeField(null=True, blank=True)
    unpublishable = models.TextField(default="", db_default="", blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["sync", "remote_id"], name="dead_letter_message"),)
        indexes = (
            models.Index(
                fields=["sync", "partition", "id"],
                name="dead_letter_unpublished",
                condition=models.Q(published_at__isnull=True, unpublishable=""),
            ),
            models.Index(fields=["sync", "-id"], name="dead_letter_open", condition=models.Q(state="open")),
        )
        permissions = (("resolve_deadletter", "Can decide what becomes of messages that could not be taken in"),)

    def __str__(self) -> str:
        return f"{self.remote_id}: {self.reason}"
