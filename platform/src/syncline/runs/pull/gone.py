"""Records that are not there any more: their links say so or, in mirror mode, our records go too, under the guard."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from syncline.contract import LocalChange, Op, Status, Written
from syncline.ledger import pull_writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.records import Outcome, Problem
from syncline.ledger.writer import group
from syncline.runs import guard
from syncline.runs.job import Job
from syncline.runs.models import PlanRow

from .local import Writer
from .work import Inflow, Known

GONE = Problem("gone", "It was deleted or archived there. Our record stays as it is.")
REMOVED = Problem("removed_here", "It was deleted or archived there, and so was our record.")
WITHHELD = "withheld_here"
KEPT = "kept_here"
REASON = "It is not in the account any more."

_WITHHOLD = """
INSERT INTO syncline_planrow (run_id, local_key, remote_id, action, state, reason, revision)
SELECT %s, local_key, remote_id, 'delete', 'planned', %s, revision FROM syncline_link WHERE id = ANY(%s)
ON CONFLICT (run_id, local_key) DO NOTHING
"""


def take_away(
    cursor: CursorWrapper, job: Job, flow: Inflow, writer: Writer, lost: Sequence[Known], *, approved: bool = False
) -> dict[str, int]:
    """What is counted. A person's approval lets all of it pass the guard."""
    lost = [one for one in lost if one.state not in (Link.State.GONE, Link.State.MERGED) and one.dataset == flow.scope.dataset]
    if not lost:
        return {}
    if not flow.deletes:
        pull_writer.vanished(cursor, flow.run_id, [one.id for one in lost], GONE)
        return {"gone": len(lost)}
    if not approved and (reason := guard.too_many(job, len(lost))):
        return {"withheld": _withhold(cursor, job, lost, reason)}
    return _delete(cursor, flow, writer, lost)


def _delete(cursor: CursorWrapper, flow: Inflow, writer: Writer, lost: Sequence[Known]) -> dict[str, int]:
    written = writer.write([LocalChange(one.remote_id, Op.DELETE, one.local_key) for one in lost])
    done = [one for one in lost if written[one.remote_id].status is not Status.REJECTED]
    refused = [one for one in lost if written[one.remote_id].status is Status.REJECTED]
    pull_writer.vanished(cursor, flow.run_id, [one.id for one in done], REMOVED)
    problems = [_refusal(one, written[one.remote_id]) for one in refused]
    pull_writer.store_problems(cursor, flow.sync_id, flow.run_id, problems)
    group(cursor, flow.run_id, [Outcome(one.remote_id, 0, Link.State.REJECTED, problem=one.problem) for one in problems])
    return {"removed": len(done), "rejected": len(refused)}


def _refusal(one: Known, written: Written) -> pull_writer.PulledProblem:
    said = written.error.message if written.error else "The app refused to delete it."
    problem = Problem(KEPT, f"It was deleted there, but our record {one.local_key} stays: {said}", group=KEPT)
    return pull_writer.PulledProblem(one.remote_id, Link.State.REJECTED, problem, local_key=one.local_key)


def _withhold(cursor: CursorWrapper, job: Job, lost: Sequence[Known], reason: str) -> int:
    """The list is kept for a person; nothing is deleted."""
    cursor.execute(_WITHHOLD, [job.run.pk, REASON, [one.id for one in lost]])
    number = int(cursor.rowcount)
    group = ErrorGroup(
        run_id=job.run.pk,
        cause=f"{WITHHELD} {job.part.pk}",
        state=Link.State.EXCLUDED,
        code="withheld",
        message=f"Records are gone from the account, and ours were not deleted: {reason}",
        count=number,
        samples=[one.local_key for one in lost[:20]],
    )
    ErrorGroup.objects.bulk_create([group], ignore_conflicts=True)
    return number


def listed_for_deletion(run_id: int) -> list[str]:
    """Remote ids of what a run withheld."""
    found = PlanRow.objects.filter(run=run_id, action=PlanRow.Action.DELETE, state=PlanRow.State.PLANNED, remote_id__isnull=False)
    return [str(id_) for id_ in found.order_by("id").values_list("remote_id", flat=True)]
