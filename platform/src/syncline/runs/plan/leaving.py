"""What left a sync that mirrors, in a plan and in its application: after everything else, under the mass-delete guard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from django.db import connection, transaction

from syncline.contract import Op
from syncline.ledger import writer
from syncline.runs import claims, crash, guard, mirror
from syncline.runs.job import Job
from syncline.runs.models import PlanRow
from syncline.runs.push.removing import Left, removal, to_clear
from syncline.syncs.engine.canonical import fingerprint
from syncline.syncs.promises import REMOVAL_OPS

from . import store
from .plan import fetched
from .rows import Planned, asked
from .standing import remote_moved
from .store import Told
from .values import to_json

SIZE: Final = 500
SAID: Final = {Op.UPDATE: "It would be cleared.", Op.ARCHIVE: "It would be archived.", Op.DELETE: "It would be deleted for good."}
Action, State = PlanRow.Action, PlanRow.State


def plan_leaving(job: Job) -> None:
    """Lists what a push would take away, with what is there; what is gone there already needs nothing."""
    if op := REMOVAL_OPS.get(job.sync.delete_policy):
        guard.check_may_remove(job.sync, job.object_type)
        looking = _Looking(job, op, to_clear(job.mapping, job.object_type) if op is Op.UPDATE else ())
        number = mirror.stage(job.source, job.mapping, clears=looking.targets)
        number += sum(mirror.stage_filtered(job.source, job.mapping, keys) for keys in _just_excluded(job))
        objection = guard.objection(job, number)
        for lot in mirror.staged(job.source, SIZE):
            store.save(job.claim.fence, looking.rows(lot, objection))
            crash.point("removal.after")
    if not claims.finish(job.claim.fence):
        raise writer.FenceLost


def apply_leaving(job: Job) -> None:
    """What changed there since is left alone; the others go as in any run, if the guard lets them."""
    for rows in _planned(job):
        _refuse_moved(job, rows)
    mirror.remove_left(job)


@dataclass(frozen=True, slots=True)
class _Looking:
    job: Job
    op: Op
    targets: Sequence[str]

    def rows(self, lot: Sequence[Left], objection: str) -> list[Planned]:
        job = self.job
        there = fetched(job.connector, job.session, job.policy(), [left.remote_id for left in lot])
        return [self._row(left, there[left.remote_id].properties, objection) for left in lot if left.remote_id in there]

    def _row(self, left: Left, there: object, objection: str) -> Planned:
        values = dict(there)  # type: ignore[call-overload]
        sent = removal(left, self.op, self.targets).write.properties
        waits = f" It would wait for a person: {objection}" if objection else ""
        return Planned(
            left.local_key,
            Action.REMOVE,
            left.remote_id,
            f"{left.why} {SAID[self.op]}{waits}",
            changes={name: [to_json(values.get(name)), None] for name in sent if values.get(name) is not None},
            prints={name: [fingerprint(values.get(name)), None] for name in asked(self.job.policy())},
            revision=left.revision,
        )


def _just_excluded(job: Job) -> Iterator[list[str]]:
    """Linked records that the filter leaves out for the first time: their links do not say so yet."""
    rows = PlanRow.objects.filter(run=job.run, action=Action.EXCLUDED, remote_id__isnull=False)
    last = 0
    while some := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", "local_key")[:SIZE]):
        last = some[-1][0]
        yield [key for _, key in some]


def _planned(job: Job) -> Iterator[list[PlanRow]]:
    rows = PlanRow.objects.filter(run=job.run.plan_id, action=Action.REMOVE, state=State.PLANNED)
    last = 0
    while some := list(rows.filter(pk__gt=last).order_by("pk")[:SIZE]):
        last = some[-1].pk
        yield some


def _refuse_moved(job: Job, rows: Sequence[PlanRow]) -> None:
    there = fetched(job.connector, job.session, job.policy(), [row.remote_id for row in rows if row.remote_id])
    moved = [(row, remote_moved(row, there.get(row.remote_id or ""), dict.fromkeys(row.changes))) for row in rows]
    told = [Told(row.pk, State.STALE, reason, row.revision, row.remote_id) for row, reason in moved if reason]
    if told:
        with transaction.atomic(), connection.cursor() as cursor:
            number = store.settle(cursor, told)
            writer.advance(cursor, job.claim.fence, Counter({"read": number, "stale": number}))
