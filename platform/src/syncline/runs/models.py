"""Runs and their claimable parts."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from syncline.syncs.models import MappingVersion, Sync


class Counters(models.Model):
    """Records by outcome. `waiting` and `uncertain` come on top of another outcome."""

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
        "calls",
    )

    class Meta:
        abstract = True


class Run(Counters):
    """One execution of a sync. The mapping version is pinned from start to end."""

    class Kind(models.TextChoices):
        FULL = "full", "full"
        RETRY = "retry", "retry of problems"
        KEYS = "keys", "chosen records"

    class State(models.TextChoices):
        QUEUED = "queued", "queued"
        RUNNING = "running", "running"
        SUCCEEDED = "succeeded", "succeeded"
        PROBLEMS = "problems", "completed with problems"
        FAILED = "failed", "failed"
        CANCELLED = "cancelled", "cancelled"

    ACTIVE = (State.QUEUED, State.RUNNING)

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, models.PROTECT, related_name="runs")
    version = models.ForeignKey(MappingVersion, models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices, default=Kind.FULL)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    trigger = models.CharField(max_length=10, default="manual")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    reason = models.TextField(default="", db_default="", blank=True)
    expected = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["sync"], name="run_one_active", condition=models.Q(state__in=["queued", "running"])),
        )
        indexes = (models.Index(fields=["sync", "-id"], name="run_latest"),)

    def __str__(self) -> str:
        return f"run {self.pk} of {self.sync_id}"


class RunPart(Counters):
    """A claimable piece of a run.

    `fence` is raised by every claim; whatever a claimant stores is guarded by it. `cursor`: everything up to this key is
    recorded. `attempt` counts claims that ended without progress; `round` how often its records were put off.
    """

    class Kind(models.TextChoices):
        PREPARE = "prepare", "look up what is there"
        RANGE = "range", "a range of keys"
        KEYS = "keys", "a list of keys"

    class State(models.TextChoices):
        BLOCKED = "blocked", "waits for another part"
        QUEUED = "queued", "queued"
        LEASED = "leased", "running"
        DONE = "done", "done"
        DEAD = "dead", "given up"
        CANCELLED = "cancelled", "cancelled"

    OPEN = (State.BLOCKED, State.QUEUED, State.LEASED)

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
