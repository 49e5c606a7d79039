"""The keys that wait."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from syncline.syncs.models import Sync


class OutboxKey(models.Model):
    """A local record that changed, once for each sync that watches it; taken by deletion, never by an id cursor.

    `local_key` "": so much changed at once (a TRUNCATE), or so little is known about it, that a full pass is due.
    No constraint on the sync: it would be checked row by row, and fail the app's transaction when a sync is deleted meanwhile.
    """

    id = models.BigAutoField(primary_key=True)
    sync = models.ForeignKey(Sync, on_delete=models.CASCADE, related_name="outbox", db_constraint=False)
    local_key = models.CharField(max_length=100)
    at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.local_key} for sync {self.sync_id}"
