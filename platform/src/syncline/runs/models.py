"""Runs and their claimable parts."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from syncline.syncs.models import MappingVersion, Sync


class Counters(models.Model):
    """Records by outcome. `waiting` and `uncertain` come on top of another outcome.

    `removed`: cleared, archived or deleted remotely because they left the sync; `withheld`: would have been, but the guard
    wants a person's word; `stale`: planned, but the remote record changed before the plan was applied. `conflicts`: fields that
    both sides changed, on top of the record's outcome.
    """

    read = models.BigIntegerField(default=0, db_default=0)
    created = models.BigIntegerField(default=0, db_default=0)
    updated = models.BigIntegerField(default=0, db_default=0)
    adopted = models.BigIntegerField(default=0, db_default=0)
    unchanged = models.BigIntegerField(default=0, db_default=0)
    ambiguous = models.BigIntegerField(default=0, db_default=0)
    rejected = models.BigIntegerField(default=0, db_default=0)
    excluded = models.BigIntegerField(default=0, db_default=0)
    gone = models.BigIntegerField(default=0, db_default=0)
    waiting = models.BigIntegerField(default=0, db_default=0)
    removed = models.BigIntegerField(default=0, db_default=0)
    withheld = models.BigIntegerField(default=0, db_default=0)
    stale = models.BigIntegerField(default=0, db_default=0)
    conflicts = models.BigIntegerField(default=0, db_default=0)
    calls = models.BigIntegerField(default=0, db_default=0)

    NAMES = (
        "read",
        "created",
        "updated",
        "adopted",
        "unchanged",
        "ambiguous",
        "rejected",
        "excluded",
        "gone",
        "waiting",
        "removed",
        "withheld",
        "stale",
        "conflicts",
        "calls",
    )

    class Meta:
        abstract = True


class Run(Counters):
    """One execution of a sync. The mapping version is pinned from start to end.

    `plan`: the plan that a run of kind APPLY carries out, or the run whose withheld removals one of kind REMOVAL does.
    `approved_by`: who let removals pass the guard, or the plan. `basis`: digest of what said who belongs to the sync (filter,
    segment, owner …), kept by a full pass once everything that had left was removed.
    """

    class Kind(models.TextChoices):
        FULL = "full", "full"
        CHANGES = "changes", "what changed here"
        RETRY = "retry", "retry of problems"
        KEYS = "keys", "chosen records"
        PLAN = "plan", "plan: reads only"
        APPLY = "apply", "a plan applied"
        REMOVAL = "removal", "removals a person approved"
        STREAM = "stream", "continuous"

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        PAUSED = "paused", "paused"
        SUCCEEDED = "succeeded", "succeeded"
        PROBLEMS = "problems", "completed with problems"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    ACTIVE = (State.QUEUED, State.RUNNING, State.PAUSED)

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, models.PROTECT, related_name="runs")
    version = models.ForeignKey(MappingVersion, models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.FULL)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    trigger = models.CharField(max_length=10, default="manual")
    plan = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="applications")
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    reason = models.TextField(default="", db_default="", blank=True)
    expected = models.BigIntegerField(null=True, blank=True)
    basis = models.CharField(max_length=32, default="", db_default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["sync"], name="run_one_active", condition=models.Q(state__in=["queued", "running", "paused"])
            ),
        )
        indexes = (models.Index(fields=["sync", "-id"], name="run_latest"),)
        permissions = (("approve_removal", "Can approve removals that were withheld"),)

    def __str__(self) -> str:
        return f"run {self.pk}"


class RunPart(Counters):
    """A claimable piece of a run.

    `fence` is raised by every claim; whatever a claimant stores is guarded by it. `cursor`: everything up to this key is
    recorded. `attempt` counts claims that ended without progress; `round` how often its records were put off.
    `priority`: parts with a higher one are claimed first (see Priority). `token`: what the vendor calls a bulk job of ours.
    `keys`: local keys, or remote ids of a FETCH part. Of continuous parts: `partition`, of the remote log, or shard of ours;
    `behind`: how many messages it has still before it; `rate`: messages a second, lately;
    `failing_since`: when the first of the errors happened that no success has followed yet.
    """

    class Priority(models.IntegerChoices):
        """The lanes: what a person waits for goes first, then what just changed, then schedules, then backfills."""

        PUT_OFF = -1
        BACKFILL = 0
        SCHEDULED = 1
        CHANGE = 5
        INTERACTIVE = 10

    class Kind(models.TextChoices):
        PREPARE = "prepare", "look up what is there"
        RANGE = "range", "a range of keys"
        KEYS = "keys", "a list of keys"
        BULK = "bulk", "a bulk job of the vendor"
        PLANNED = "planned", "rows of a plan"
        LEAVING = "leaving", "what left the sync"
        PULL = "pull", "pages of the account"
        FETCH = "fetch", "chosen records of the account"
        MISSING = "missing", "what is not there any more"
        RELAY = "relay", "messages passed on"
        STREAM = "stream", "what comes, as it comes"

    class State(models.TextChoices):
        BLOCKED = "blocked", "waits for another part"
        QUEUED = "queued", "queued"
        LEASED = "leased", "running"
        DONE = "done", "done"
        DEAD = "dead", "given up"
        CANCELLED = "cancelled", "cancelled"

    OPEN = (State.BLOCKED, State.QUEUED, State.LEASED)
    CONTINUOUS = (Kind.RELAY, Kind.STREAM)
    """Carried out by `syncline stream`, and never done by themselves."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="parts")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    priority = models.SmallIntegerField(default=0, db_default=0)
    after_key = models.CharField(max_length=100, default="", db_default="", blank=True)
    until_key = models.CharField(max_length=100, default="", db_default="", blank=True)
    keys = models.JSONField(default=list, db_default=[])
    cursor = models.CharField(max_length=100, default="", db_default="", blank=True)
    attempt = models.SmallIntegerField(default=0, db_default=0)
    round = models.SmallIntegerField(default=0, db_default=0)
    not_before = models.DateTimeField(db_default=Now())
    owner = models.CharField(max_length=100, default="", db_default="", blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.BigIntegerField(default=0, db_default=0)
    last_error = models.TextField(default="", db_default="", blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    token = models.TextField(default="", db_default="", blank=True)
    partition = models.CharField(max_length=100, default="", db_default="", blank=True)
    behind = models.BigIntegerField(null=True, blank=True)
    rate = models.FloatField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(
                fields=["-priority", "not_before", "id"],
                name="part_claimable",
                condition=models.Q(state__in=["queued", "leased"]),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} part {self.pk} of run {self.run_id}"


class PlanRow(models.Model):
    """What a plan found for one record: an action, and per property the value there and the one to be written.

    `changes`: property → [value there or null, value to write], canonical values as JSON (see plan.values). `kept`: property →
    [value there, ours, write mode], for those that the mode leaves as they are. `associations`: object type → {"add": [remote
    ids], "remove": [remote ids], "missing": [our keys of what is not linked yet]}. `prints`: property → [fingerprint of what
    was there, fingerprint that the link holds afterwards], each null where there is none; by the first, apply sees that the
    remote record changed meanwhile. `revision`, `source_hash`: of link and source row as read.
    """

    class Action(models.TextChoices):
        CREATE = "create", "create"
        UPDATE = "update", "update"
        ADOPT = "adopt", "adopt what is there"
        UNCHANGED = "unchanged", "unchanged"
        AMBIGUOUS = "ambiguous", "needs review"
        REJECTED = "rejected", "would be rejected"
        BLOCKED = "blocked", "blocked by write mode"
        EXCLUDED = "excluded", "not in this sync"
        GONE = "gone", "deleted remotely"
        REMOVE = "remove", "would be removed there"
        DELETE = "delete", "would be deleted here"

    class State(models.TextChoices):
        PLANNED = "planned", "planned"
        APPLIED = "applied", "applied"
        STALE = "stale", "changed there since"
        FAILED = "failed", "not applied"

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, models.CASCADE, related_name="plan_rows")
    local_key = models.CharField(max_length=100)
    remote_id = models.CharField(max_length=200, null=True, blank=True)
    action = models.CharField(max_length=10, choices=Action.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNED, db_default=State.PLANNED)
    reason = models.TextField(default="", db_default="", blank=True)
    changes = models.JSONField(default=dict, db_default={})
    associations = models.JSONField(default=dict, db_default={})
    kept = models.JSONField(default=dict, db_default={})
    prints = models.JSONField(default=dict, db_default={})
    revision = models.BigIntegerField(default=0, db_default=0)
    source_hash = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["run", "local_key"], name="plan_row_key"),)
        indexes = (models.Index(fields=["run", "action", "id"], name="plan_row_action"),)

    def __str__(self) -> str:
        return f"{self.action} {self.local_key}"


class WorkerCanary(models.Model):
    """Proof that the processes of one worker still carry out work; its supervisor watches it."""

    cluster = models.CharField(max_length=100, primary_key=True)
    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    beat_at = models.DateTimeField(db_default=Now())
    restarts = models.IntegerField(default=0, db_default=0)

    class Meta:
        verbose_name_plural = "worker canaries"

    def __str__(self) -> str:
        return f"worker {self.cluster} on {self.host}"


class StreamWorker(models.Model):
    """A process that carries out continuous parts; they are shared among those that give a sign of life."""

    name = models.CharField(max_length=100, primary_key=True)
    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    started_at = models.DateTimeField(db_default=Now())
    beat_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name
