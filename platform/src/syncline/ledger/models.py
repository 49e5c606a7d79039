"""What happened to every record: links, entries, error groups, the identity index."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from syncline.connections.models import Connection


class Link(models.Model):
    """One local record ↔ one remote record.

    `delivered`: property → fingerprint of the canonical value the vendor confirmed (or that a write mode settled).
    `associations`: object type → remote ids that we associated. `revision` counts every change of the row.
    `source_hash`: PostgreSQL's hash of the source row as it was when everything about it was settled.
    `uncertain_at`: when a write ended without an answer; null while it is on its way, or when its worker died.
    `last_run_id`: the last run that counted the record. `seen`: property → fingerprint of the canonical value that the remote
    record had when both sides last agreed; what differs from it was changed there. "=" holds one digest over all that was read
    and the mapping it was pulled by.
    """

    class State(models.TextChoices):
        PENDING = "pending", "to be delivered"
        UNCERTAIN = "uncertain", "outcome unknown"
        DELIVERED = "delivered", "delivered"
        WAITING = "waiting", "waiting for another record"
        REJECTED = "rejected", "rejected"
        AMBIGUOUS = "ambiguous", "needs review"
        EXCLUDED = "excluded", "not in this sync"
        GONE = "gone", "deleted remotely"
        MERGED = "merged", "merged remotely"

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, models.PROTECT, related_name="+")
    object_type = models.CharField(max_length=200)
    dataset = models.CharField(max_length=100)
    local_key = models.CharField(max_length=100)
    remote_id = models.CharField(max_length=200, null=True, blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    revision = models.BigIntegerField(default=0, db_default=0)
    delivered = models.JSONField(default=dict, db_default={})
    associations = models.JSONField(default=dict, db_default={})
    seen = models.JSONField(default=dict, db_default={})
    source_hash = models.BigIntegerField(null=True, blank=True)
    refused_digest = models.CharField(max_length=32, default="", db_default="", blank=True)
    code = models.CharField(max_length=30, default="", db_default="", blank=True)
    reason = models.TextField(default="", db_default="", blank=True)
    uncertain_op = models.CharField(max_length=10, default="", db_default="", blank=True)
    uncertain_at = models.DateTimeField(null=True, blank=True)
    last_run_id = models.BigIntegerField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    created = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["connection", "object_type", "dataset", "local_key"], name="link_local"),
            models.UniqueConstraint(
                fields=["connection", "object_type", "remote_id"], name="link_remote", condition=models.Q(remote_id__isnull=False)
            ),
        )
        indexes = (
            models.Index(fields=["dataset", "local_key"], name="link_record"),
            # the few that a run asks for again and again: doubts before each part, troubles when it closes
            models.Index(
                fields=["connection", "object_type", "dataset", "state"],
                name="link_unsettled",
                condition=models.Q(
                    state__in=["pending", "uncertain", "waiting", "rejected", "ambiguous", "gone", "merged"],
                ),
            ),
            # the very few that every lot of new remote records is compared with
            models.Index(
                fields=["connection", "object_type"],
                name="link_creating",
                condition=models.Q(remote_id__isnull=True, uncertain_op="create"),
            ),
        )
        permissions = (("resolve_link", "Can resolve links that need review"),)

    def __str__(self) -> str:
        return f"{self.dataset} {self.local_key} ↔ {self.object_type} {self.remote_id or '—'}"


class Entry(models.Model):
    """One attempt and its answer; append-only. `sent`: property → value as it left.

    No foreign keys, so that old ones go cheaply.
    """

    id = models.BigAutoField(primary_key=True)
    link_id = models.BigIntegerField()
    run_id = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())
    op = models.CharField(max_length=10)
    status = models.CharField(max_length=10)
    remote_id = models.CharField(max_length=200, default="", db_default="", blank=True)
    code = models.CharField(max_length=30, default="", db_default="", blank=True)
    message = models.TextField(default="", db_default="", blank=True)
    sent = models.JSONField(default=dict, db_default={})

    class Meta:
        verbose_name_plural = "entries"
        indexes = (
            models.Index(fields=["link_id", "at"], name="entry_link"),
            models.Index(fields=["run_id", "id"], name="entry_run"),
        )

    def __str__(self) -> str:
        return f"{self.op} {self.status}"


class ErrorGroup(models.Model):
    """Records of one run that failed for the same cause, with a sentence and a next step.

    `samples`: local keys or, where the cause begins with PULLED, ids of remote records that could not be stored here.
    """

    PULLED = "pull "

    id = models.BigAutoField(primary_key=True)
    run_id = models.BigIntegerField()
    cause = models.CharField(max_length=32)
    state = models.CharField(max_length=10, choices=Link.State.choices)
    code = models.CharField(max_length=30)
    property = models.CharField(max_length=200, default="", db_default="", blank=True)
    message = models.TextField()
    next_step = models.TextField(default="", db_default="", blank=True)
    count = models.BigIntegerField(default=0)
    samples = models.JSONField(default=list)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["run_id", "cause"], name="error_group_cause"),)

    def __str__(self) -> str:
        return f"{self.count} × {self.message}"

    def is_pulled(self) -> bool:
        return self.cause.startswith(self.PULLED)


class IdentityIndex(models.Model):
    """(connection, object, property, normalised value) → remote id: matching in SQL instead of by calls.

    The connection has no constraint in the database: what is left of one that went is never asked for, and checking costs a pull
    a tenth of its time there.
    """

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, models.CASCADE, related_name="+", db_index=False, db_constraint=False)
    object_type = models.CharField(max_length=200)
    property = models.CharField(max_length=200)
    value = models.CharField(max_length=700)
    remote_id = models.CharField(max_length=200)
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "identity index"
        constraints = (
            models.UniqueConstraint(
                fields=["connection", "object_type", "property", "value", "remote_id"], name="identity_value"
            ),
        )
        # not connection first: the planner, knowing the table as empty, would look up values by it
        indexes = (models.Index(fields=["remote_id", "connection", "object_type"], name="identity_of_remote"),)

    def __str__(self) -> str:
        return f"{self.property}={self.value} → {self.remote_id}"


class IndexState(models.Model):
    """How current the identity index of one object is.

    `indexed`: the steps and properties that are in it (see runs.push.identities.Spec); others need a listing. `listed_at`:
    when the last complete listing began; `seen_until`: everything changed before this moment is in the index.
    """

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="+")
    object_type = models.CharField(max_length=200)
    indexed = models.JSONField(default=dict, db_default={})
    listed_at = models.DateTimeField()
    seen_until = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["connection", "object_type"], name="index_state_object"),)

    def __str__(self) -> str:
        return f"{self.object_type} until {self.seen_until}"


class Candidate(models.Model):
    """Match values of the local records that a run has to match; goes with the run.

    `busy`: of a record that needs work; the others matter because they may share a value.
    """

    id = models.BigAutoField(primary_key=True)
    run_id = models.BigIntegerField()
    step = models.SmallIntegerField()
    value = models.CharField(max_length=700)
    local_key = models.CharField(max_length=100)
    busy = models.BooleanField(default=True, db_default=True)

    class Meta:
        indexes = (
            models.Index(fields=["run_id", "step", "value"], name="candidate_value"),
            models.Index(fields=["local_key", "run_id"], name="candidate_of_key"),
        )

    def __str__(self) -> str:
        return f"{self.local_key}: {self.value}"
