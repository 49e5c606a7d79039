"""Who wants to know what changes here: syncs that push, at scheduled times or at once."""

from __future__ import annotations

from typing import Final

from django.db.models import Q, QuerySet

from syncline.syncs.models import Sync

#: The same as `wanting`, for statements in which the sync is `s`.
WANTS: Final = "s.enabled AND s.current_id IS NOT NULL AND s.direction <> 'pull' AND (s.at_once OR s.changes_cron <> '')"


def wanting() -> QuerySet[Sync]:
    asked = Q(at_once=True) | ~Q(changes_cron="")
    return Sync.objects.filter(asked, enabled=True, current__isnull=False).exclude(direction=Sync.Direction.PULL)


def asked_for(sync: Sync) -> bool:
    """By its settings, switched on and published or not."""
    return sync.direction != Sync.Direction.PULL and bool(sync.at_once or sync.changes_cron)
