"""Stored copies of what connections offer, as it was when it was last discovered."""

from __future__ import annotations

from django.db import models

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
