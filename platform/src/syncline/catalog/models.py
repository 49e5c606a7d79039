"""Stored copies of what connections offer, as it was when it was last discovered."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from syncline.connections.models import Connection


class ObjectSnapshot(models.Model):
    """One object of a connection. `content`: the ObjectType as JSON (codec.py); `gone_at`: since when it is not offered."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="objects_offered")
    key = models.CharField(max_length=200)
    title = models.CharField(max_length=300)
    content = models.JSONField()
    digest = models.CharField(max_length=64)
    discovered_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "catalog object"
        constraints = [models.UniqueConstraint(fields=["connection", "key"], name="object_snapshot_key")]

    def __str__(self) -> str:
        return f"{self.title} of {self.connection}"


class CatalogChange(models.Model):
    """Something that changed in the account's definitions between two discoveries.

    `property`: "" when it is the object itself. `aspect`: added, removed, or what changed (kind, choices, read_only …).
    `before` and `after`: the whole definition of what was removed or added, else what changed of it; of choices those that
    are gone, and those that came. `settled_at`: since when it is as it was before.
    """

    class Aspect(models.TextChoices):
        ADDED = "added", "added"
        REMOVED = "removed", "removed"
        KIND = "kind", "type changed"
        CHOICES = "choices", "choices changed"
        READ_ONLY = "read_only", "writable or not"
        REQUIRED = "required", "required or not"
        OTHER = "other", "changed"

    id = models.BigAutoField(primary_key=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="catalog_changes")
    object_type = models.CharField(max_length=200)
    property = models.CharField(max_length=200, blank=True, default="")
    aspect = models.CharField(max_length=10, choices=Aspect)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    noticed_at = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["connection", "object_type", "property"], name="catalog_change_property")]

    def __str__(self) -> str:
        return f"{self.object_type}.{self.property or '*'} {self.get_aspect_display()}"
