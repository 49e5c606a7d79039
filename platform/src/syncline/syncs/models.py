"""A sync, its draft (rules and match steps as rows) and its published versions."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models

from . import following
from .engine.content import Mode, NullPolicy, Owner, WriteMode


class Sync(models.Model):
    """Dataset ↔ object over a connection."""

    class Direction(models.TextChoices):
        """As engine.content.Direction, with words."""

        PUSH = "push", "Push: from here to the account"
        PULL = "pull", "Pull: from the account to here"
        TWO_WAY = "two_way", "Two-way: both, each field by its owner"

    class GonePolicy(models.TextChoices):
        LEAVE = "leave", "Leave it deleted"
        RECREATE = "recreate", "Create it again"
        REVIEW = "review", "Put it on the review list"

    class DeletePolicy(models.TextChoices):
        IGNORE = "ignore", "Leave it as it is"
        CLEAR = "clear", "Clear the properties we delivered"
        ARCHIVE = "archive", "Archive it"
        DELETE = "delete", "Delete it for good"

    class DriftPolicy(models.TextChoices):
        SUSPEND = "suspend", "Suspend the field, deliver the others"
        STOP = "stop", "Stop the sync"

    name = models.CharField(max_length=120)
    connection = models.ForeignKey("syncline.Connection", on_delete=models.PROTECT, related_name="syncs")
    dataset = models.CharField(max_length=120, help_text="What is synced, e.g. companies.company.")
    object_type = models.CharField("object", max_length=120, help_text="The kind of remote record, e.g. companies.")
    direction = models.CharField(max_length=8, choices=Direction, default=Direction.PUSH)
    mode = models.CharField(
        max_length=8,
        choices=[
            (Mode.UPSERT.value, "Create and update"),
            (Mode.UPDATE.value, "Only update what is there"),
            (Mode.CREATE.value, "Only create what is missing"),
            (Mode.MIRROR.value, "Mirror: create, update, and take away what left"),
        ],
        default=Mode.UPSERT.value,
    )
    segment = models.CharField(max_length=80, blank=True, help_text="A named part of the dataset; empty means all.")
    filter = models.TextField(blank=True, help_text="A CEL expression; only records for which it is true are synced.")
    cron = models.CharField(
        max_length=120, blank=True, help_text="When everything is compared, e.g. 0 3 * * *; empty means by hand."
    )
    changes_cron = models.CharField(
        "changes",
        max_length=120,
        blank=True,
        help_text="When what changed here is pushed, e.g. */5 * * * *; empty means that changes are not watched.",
    )
    at_once = models.BooleanField(
        "changes at once", default=False, help_text="What changed here is pushed within seconds, without waiting for a schedule."
    )
    continuous = models.BooleanField(
        default=False, help_text="Runs without end in the stream processes: what comes is taken or passed on as it comes."
    )
    source = models.ForeignKey(
        "syncline.Connection",
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="passed_on_by",
        verbose_name="messages of",
        help_text="Whose deliveries are passed on.",
    )
    follows = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="followers",
        help_text="It starts when a run of that sync has ended, e.g. people after companies.",
    )
    enabled = models.BooleanField(default=True)
    gone_policy = models.CharField(
        "when a record was deleted remotely", max_length=8, choices=GonePolicy, default=GonePolicy.LEAVE
    )
    delete_policy = models.CharField(
        "when a record left the sync",
        max_length=8,
        choices=DeletePolicy,
        default=DeletePolicy.IGNORE,
        help_text="In mirror mode: what happens to the remote record.",
    )
    drift_policy = models.CharField(
        "when a mapped property changed in the account", max_length=8, choices=DriftPolicy, default=DriftPolicy.SUSPEND
    )
    bulk_from = models.PositiveIntegerField(
        "bulk import from",
        null=True,
        blank=True,
        help_text="A first load of at least so many records goes through the vendor's import; empty means never.",
    )
    bulk_match = models.BooleanField(
        "let the import match",
        default=False,
        help_text="The vendor's import finds existing records by its own rule, e.g. domain.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    current = models.ForeignKey(
        "syncline.MappingVersion", on_delete=models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    next_due_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: The run after which it is to start; null when nothing of the sync it follows has ended since.
    follows_run_id = models.BigIntegerField(null=True, blank=True, editable=False)
    next_changes_at = models.DateTimeField(null=True, blank=True, editable=False)
    #: Why it could not start when it was due; null since it started, was published or is not scheduled any more.
    blocked_reason = models.TextField(null=True, blank=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "id"]
        indexes = [
            models.Index(fields=["next_due_at"], name="sync_due", condition=models.Q(enabled=True, next_due_at__isnull=False)),
            models.Index(
                fields=["next_changes_at"],
                name="sync_changes_due",
                condition=models.Q(enabled=True, next_changes_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        if complaint := following.complaint(self):
            raise ValidationError({"follows": complaint})


class FieldRule(models.Model):
    """One row of the draft: a dataset field or a CEL expression, through transforms, to a property or an association."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="rules")
    position = models.PositiveIntegerField(default=0)
    source = models.CharField("field", max_length=120, blank=True)
    expression = models.TextField("or expression (CEL)", blank=True)
    target = models.CharField(max_length=160)
    association = models.BooleanField(default=False, help_text="The target is an object type to associate with.")
    transforms = models.JSONField(default=list, blank=True, help_text='A list such as [{"name": "trim"}].')
    write_mode = models.CharField(
        max_length=12,
        choices=[
            (WriteMode.OVERWRITE.value, "Always"),
            (WriteMode.IF_EMPTY.value, "Only if empty there"),
            (WriteMode.IF_NEW.value, "Only in new records"),
            (WriteMode.APPEND.value, "Add to the set"),
        ],
        default=WriteMode.OVERWRITE.value,
    )
    null_policy = models.CharField(
        "an empty value",
        max_length=8,
        choices=[(NullPolicy.CLEAR.value, "Clears the property"), (NullPolicy.SKIP.value, "Leaves it as it is")],
        default=NullPolicy.CLEAR.value,
    )
    owner = models.CharField(
        "who decides",
        max_length=8,
        choices=[
            (Owner.HERE.value, "Here: the value is pushed"),
            (Owner.THERE.value, "There: the value is pulled"),
            (Owner.NEWEST.value, "Whoever changed it last"),
            (Owner.REVIEW.value, "Whoever changed it; both: review"),
        ],
        default=Owner.HERE.value,
        help_text="In a two-way sync: which side's value holds.",
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["sync", "position", "id"]

    def __str__(self) -> str:
        return f"{self.source or self.expression or '(nothing)'} → {self.target}"


class MatchStepRow(models.Model):
    """One step of the draft's match rule; steps are tried in order."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="match_steps")
    position = models.PositiveIntegerField(default=0)
    property = models.CharField(max_length=160)
    also = models.JSONField(default=list, blank=True, help_text="Further properties that identify the remote record.")
    normalise = models.CharField(max_length=40, default="text")
    only_if_unique = models.BooleanField(default=False)

    class Meta:
        ordering = ["sync", "position", "id"]
        verbose_name = "match step"

    def __str__(self) -> str:
        return f"by {self.property}"


class MappingVersion(models.Model):
    """A mapping as it was published; never changed afterwards, because runs are pinned to it."""

    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    digest = models.CharField(max_length=16)
    published_at = models.DateTimeField(auto_now_add=True)
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["sync", "-number"]
        constraints = [models.UniqueConstraint(fields=["sync", "number"], name="mapping_version_number")]

    def __str__(self) -> str:
        return f"version {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise TypeError("A published mapping version is never changed. Publish a new one.")
        super().save(*args, **kwargs)
