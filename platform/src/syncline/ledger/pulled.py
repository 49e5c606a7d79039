"""What the ledger knows of pulls: how far they came, what arrived and found no place, and what both sides changed."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from syncline.syncs.models import Sync

from .models import Link


class Checkpoint(models.Model):
    """How far the pulls of a sync came.

    `seen_until`: everything that changed there before this moment has arrived. `window_until`, `position`: of a pull that has not
    ended yet: what it goes up to, and the position after its last stored page. `whole`: that pull is a full listing, and
    not of what changed. `archived`: it has come to the archived records. `run_id`: the run whose pull that is.
    """

    sync = models.ForeignKey(Sync, models.CASCADE, related_name="checkpoints")
    partition = models.CharField(max_length=100, default="", db_default="", blank=True)
    seen_until = models.DateTimeField(null=True, blank=True)
    window_until = models.DateTimeField(null=True, blank=True)
    position = models.TextField(default="", db_default="", blank=True)
    whole = models.BooleanField(default=False, db_default=False)
    archived = models.BooleanField(default=False, db_default=False)
    run_id = models.BigIntegerField(null=True, blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["sync", "partition"], name="checkpoint_partition"),)
        permissions = (("move_checkpoint", "Can set how far a pull came"),)

    def __str__(self) -> str:
        return f"{self.sync_id} until {self.seen_until}"


class Arrival(models.Model):
    """A remote record that could not be stored here, or not wholly: why, and since when. It goes once the record is stored.

    It is tried again when it changes there, once a day, and when a person asks; each time when it waits for another record, or
    was not fetched yet (PENDING). `digest`: of the values it had there.
    `local_key`: of the record here that it would change. `create`: a person said that it is a record of its own, whatever it
    has in common with others.
    """

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, models.CASCADE, related_name="arrivals")
    remote_id = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=Link.State.choices)
    code = models.CharField(max_length=30, default="", db_default="", blank=True)
    reason = models.TextField(default="", db_default="", blank=True)
    title = models.CharField(max_length=200, default="", db_default="", blank=True)
    digest = models.CharField(max_length=32, default="", db_default="", blank=True)
    local_key = models.CharField(max_length=100, default="", db_default="", blank=True)
    create = models.BooleanField(default=False, db_default=False)
    last_run_id = models.BigIntegerField(null=True, blank=True)
    since = models.DateTimeField(db_default=Now())
    checked_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["sync", "remote_id"], name="arrival_record"),)
        permissions = (("resolve_arrival", "Can decide what becomes of records that found no place"),)

    def __str__(self) -> str:
        return f"{self.remote_id}: {self.reason}"


class Conflict(models.Model):
    """A field that both sides changed to different values since they last agreed. While it is open, neither side is written.

    `here`, `there`: the values as canonical JSON; `prints`: their fingerprints, by which a later run sees whether this is the
    same conflict. `decision`: what a person chose.
    """

    class Decision(models.TextChoices):
        HERE = "here", "ours holds"
        THERE = "there", "theirs holds"
        AGREED = "agreed", "both sides have the same value by now"

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, models.CASCADE, related_name="conflicts")
    link = models.ForeignKey(Link, models.CASCADE, related_name="conflicts")
    property = models.CharField(max_length=200)
    field = models.CharField(max_length=120)
    here = models.JSONField(null=True, blank=True)
    there = models.JSONField(null=True, blank=True)
    prints = models.JSONField(default=list, db_default=[])
    run_id = models.BigIntegerField()
    at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    decision = models.CharField(max_length=8, choices=Decision.choices, default="", db_default="", blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["link", "property"], name="conflict_open", condition=models.Q(decided_at__isnull=True)
            ),
        )
        indexes = (models.Index(fields=["sync", "-at"], name="conflict_latest"),)
        permissions = (("decide_conflict", "Can decide which side's value holds"),)

    def __str__(self) -> str:
        return f"{self.property} of link {self.link_id}"


class Listed(models.Model):
    """Remote ids that a full pull has met so far; goes with the run. What is linked and missing here may be gone."""

    id = models.BigAutoField(primary_key=True)
    run_id = models.BigIntegerField()
    remote_id = models.CharField(max_length=200)

    class Meta:
        verbose_name_plural = "listed"
        indexes = (models.Index(fields=["run_id", "remote_id"], name="listed_record"),)

    def __str__(self) -> str:
        return self.remote_id
