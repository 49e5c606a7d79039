"""Messages that could not be taken in go to the remote log kept for such, once they are safe in our tables."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Final

from django.db.models.functions import Now

from syncline.catalog import service as catalog
from syncline.contract import Change, ConfigError, Message, ObjectType, Op, Status, SynclineError
from syncline.ledger.messages import DeadLetter
from syncline.ledger.storable import storable
from syncline.ledger.writer import FenceLost

from .job import StreamJob

LOT: Final = 200
LONGEST: Final = 1000

log = logging.getLogger("syncline.runs")


def publish(job: StreamJob) -> None:
    """Those of this partition that are not there yet. One whose answer is not known goes once more, under the same id."""
    target = _target(job)
    if target is None:
        return
    try:
        while (letters := _unpublished(job)) and _publish(job, target, letters):
            job.alive()
    except FenceLost:
        raise
    except SynclineError as error:  # they are safe here; what can be taken in does not wait for it
        log.warning("Messages of sync %s that were refused are not in %s yet: %s", job.sync.pk, target.key, error)


def _publish(job: StreamJob, target: ObjectType, letters: Sequence[DeadLetter]) -> bool:
    """False when some are still to be sent: the next refusal, or the next start, tries again."""
    changes = [_change(job, one) for one in letters]
    results = job.connector.call.push(session=job.session, object_type=target, changes=changes)
    asked = {str(one.pk): one for one in letters}
    answers = {r.local_key: r for r in results if r.local_key in asked}
    done = [asked[key].pk for key, r in answers.items() if r.status in (Status.CREATED, Status.UPDATED)]
    DeadLetter.objects.filter(pk__in=done).update(published_at=Now())
    refused = {key: r.error.message if r.error else "" for key, r in answers.items() if r.status is Status.REJECTED}
    for key, why in refused.items():
        _unpublishable(asked[key], f"{target.key} refused it: {why or 'no reason was given'}")
    return len(done) + len(refused) == len(letters)


def _unpublishable(letter: DeadLetter, why: str) -> None:
    why = storable(why)[:LONGEST]
    DeadLetter.objects.filter(pk=letter.pk).update(unpublishable=why)
    log.warning(
        "The message %s that sync %s could not take in is kept in the ledger alone: %s", letter.remote_id, letter.sync_id, why
    )


def _target(job: StreamJob) -> ObjectType | None:
    name = job.object_type.dead_letters
    if not name:
        return None
    try:
        return catalog.object_type(job.sync.connection, name)
    except ConfigError:
        return ObjectType(name, name, (), {Op.CREATE: LOT}, log=True)


def _unpublished(job: StreamJob) -> Sequence[DeadLetter]:
    found = DeadLetter.objects.filter(
        sync_id=job.sync.pk, partition=job.part.partition, published_at__isnull=True, unpublishable=""
    )
    return list(found.order_by("pk")[:LOT])


def _change(job: StreamJob, letter: DeadLetter) -> Change:
    """Its own bytes and headers, and beside them what happened to it."""
    happened: Mapping[str, str] = {
        "x-original-topic": job.sync.object_type,
        "x-original-place": letter.remote_id,
        "x-original-id": letter.message_id,
        "x-refused-by": job.sync.dataset,
        "x-refused-code": letter.code,
        "x-refused-reason": letter.reason,
        "x-first-seen": letter.at.isoformat(),
    }
    message = Message(
        id=f"{job.sync.object_type}:{letter.remote_id}",
        key=letter.key,
        sequence=letter.sequence,
        type="dead-letter",
        source=f"/{job.sync.connection.connector}/{job.sync.connection_id}",
        at=letter.happened_at,
        headers={**letter.headers, **happened},
        body=bytes(letter.body),
    )
    return Change(str(letter.pk), Op.CREATE, properties={}, message=message)
