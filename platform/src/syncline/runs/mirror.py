"""Mirror mode: what left the dataset, the segment or the filter is taken away there too, by the sync's delete policy.

It comes after everything else of a run, as a part of its own: after a full pass one anti-join of all links with the dataset,
after other runs one over the records they were about. A record whose filter failed is neither in nor out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import orjson
from django.db import connection, transaction

from syncline.contract import OutcomeUnknown
from syncline.ledger import writer
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.storable import dumps
from syncline.syncs.engine import CompiledMapping
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.models import Sync
from syncline.syncs.promises import REMOVAL_OPS

from . import claims, crash, guard
from .job import Job
from .models import PlanRow, Run, RunPart
from .push.reader import CHUNK, Source
from .push.removing import CLEARED, REMOVED, Left, Remover, cleared_print, removal, to_clear
from .push.work import Work

WITHHELD: Final = "withheld"
STEP: Final = -1
"""Candidates of this step are what leaves; those of match steps count from 0."""

DONE_CODES: Final = (REMOVED, CLEARED)

LISTED: Final = (Run.Kind.REMOVAL, Run.Kind.APPLY)
"""Kinds of runs that remove nothing but what a list says that a person has seen."""

LEFT_DATASET: Final = "It is no longer in the dataset or its segment."
LEFT_FILTER: Final = "The sync's filter leaves it out."

_OPEN = """
l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.remote_id IS NOT NULL
  AND l.state NOT IN ('gone', 'merged') AND (%s::jsonb IS NULL OR NOT l.delivered @> %s::jsonb)
"""

_STAGE = f"""
INSERT INTO syncline_candidate (run_id, step, value, local_key, busy)
SELECT %s, {STEP}, %s, l.local_key, true FROM syncline_link l
WHERE {_OPEN} {{only}} AND NOT EXISTS (SELECT 1 FROM ({{query}}) AS s (c0) WHERE s.c0::text = l.local_key)
"""  # noqa: S608

_FILTERED = f"""
SELECT l.local_key FROM syncline_link l
WHERE {_OPEN} {{only}} AND l.state = 'excluded' AND l.local_key > %s ORDER BY l.local_key LIMIT %s
"""  # noqa: S608

_LEAVING = """
SELECT c.id, l.local_key, l.remote_id, l.revision, l.state, l.delivered::text, l.associations::text, l.uncertain_op, c.value
FROM syncline_candidate c JOIN syncline_link l
  ON l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.local_key = c.local_key AND l.remote_id IS NOT NULL
WHERE c.run_id = %s AND c.step = %s AND c.id > %s ORDER BY c.id LIMIT %s
"""

_WITHHOLD = """
INSERT INTO syncline_planrow (run_id, local_key, remote_id, action, state, reason, revision)
SELECT c.run_id, l.local_key, l.remote_id, 'remove', 'planned', c.value, l.revision
FROM syncline_candidate c JOIN syncline_link l
  ON l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.local_key = c.local_key
WHERE c.run_id = %s AND c.step = %s
ON CONFLICT (run_id, local_key) DO NOTHING
"""

_NOT_LISTED = """
DELETE FROM syncline_candidate c WHERE c.run_id = %s AND c.step = %s AND NOT EXISTS (
    SELECT 1 FROM syncline_planrow p
    WHERE p.run_id = %s AND p.local_key = c.local_key AND p.action = 'remove' AND p.state = 'planned')
"""

_APPLIED = """
UPDATE syncline_planrow p SET state = 'applied' FROM syncline_link l
WHERE p.run_id = %s AND p.action = 'remove' AND p.state = 'planned'
  AND l.connection_id = %s AND l.object_type = %s AND l.dataset = %s AND l.local_key = p.local_key
  AND l.code = ANY(%s) AND l.last_run_id = %s
"""

_STALE = """
UPDATE syncline_planrow p SET state = 'stale', reason = 'It belongs to the sync again, or is not there any more.'
WHERE p.run_id = %s AND p.action = 'remove' AND p.state = 'planned' AND NOT EXISTS (
    SELECT 1 FROM syncline_candidate c WHERE c.run_id = %s AND c.step = %s AND c.local_key = p.local_key)
"""


def leaving(
    source: Source,
    mapping: CompiledMapping,
    *,
    keys: Sequence[str] | None = None,
    clears: Sequence[str] = (),
    size: int = 500,
) -> Iterator[list[Left]]:
    """Linked records that are not part of the sync any more, in chunks; reads only, apart from the run's own candidates.

    `keys`: only these records; None means all, by one anti-join. `clears`: properties that the delete policy empties: a record
    of which they are empty already has nothing to lose. Rows that the filter leaves out are found by their links' state, as a
    push recorded it; a plan, which records nothing, has to add those it has just seen for the first time itself.
    """
    stage(source, mapping, keys=keys, clears=clears)
    yield from staged(source, size)


def stage(source: Source, mapping: CompiledMapping, *, keys: Sequence[str] | None = None, clears: Sequence[str] = ()) -> int:
    """Lists what leaves as candidates of the run; gives how many. Whatever was listed before is forgotten."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM syncline_candidate WHERE run_id = %s AND step = %s", [source.run_id, STEP])
    if keys is None:
        _stage(source, mapping, clears, None)
    else:
        for start in range(0, len(keys), CHUNK):
            _stage(source, mapping, clears, list(keys[start : start + CHUNK]))
    return count(source.run_id)


def count(run_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM syncline_candidate WHERE run_id = %s AND step = %s", [run_id, STEP])
        return int(cursor.fetchone()[0])


def _stage(source: Source, mapping: CompiledMapping, clears: Sequence[str], keys: list[str] | None) -> None:
    rows = source.dataset.rows((), source.segment, source.owner)
    if keys is not None:
        rows = rows.filter(**{f"{source.dataset.key_field}__in": keys})
    query, params = rows.values_list(source.dataset.key_field).query.sql_with_params()
    limits = _limits(source, clears)
    only, some = ("AND l.local_key = ANY(%s)", [keys]) if keys is not None else ("", [])
    with connection.cursor() as cursor:
        cursor.execute(_STAGE.format(query=query, only=only), [source.run_id, LEFT_DATASET, *limits, *some, *params])
    after = ""
    while some_keys := _filtered(limits, only, some, after):
        stage_filtered(source, mapping, some_keys)
        after = some_keys[-1]


def _limits(source: Source, clears: Sequence[str]) -> list[Any]:
    scope = source.scope
    emptied = dumps(cleared_print(clears)) if clears else None
    return [scope.connection_id, scope.object_type, scope.dataset, emptied, emptied]


def _filtered(limits: list[Any], only: str, some: list[Any], after: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(_FILTERED.format(only=only), [*limits, *some, after, CHUNK])
        return [row[0] for row in cursor.fetchall()]


def stage_filtered(source: Source, mapping: CompiledMapping, keys: Sequence[str]) -> int:
    """Adds those of these records that the filter leaves out, and gives how many. Looked at again: what a link says may be of
    an earlier mapping."""
    out = [key for key, mapped in _mapped(source, mapping, keys) if not mapped.included and not mapped.undecided]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO syncline_candidate (run_id, step, value, local_key, busy)"
            " SELECT %s, %s, %s, k, true FROM unnest(%s::text[]) AS k",
            [source.run_id, STEP, LEFT_FILTER, out],
        )
    return len(out)


def _mapped(source: Source, mapping: CompiledMapping, keys: Sequence[str]) -> Iterator[tuple[str, Mapped]]:
    """These records as they are now, as far as they are in the dataset and its segment."""
    queryset = source.queryset().filter(**{f"{source.dataset.key_field}__in": list(keys)})
    for row in source.values(queryset):
        yield str(row[0]), mapping.map(dict(zip(source.columns, row, strict=True)))


def without_returned(source: Source, mapping: CompiledMapping, lot: Sequence[Left]) -> list[Left]:
    """What is still out of the sync. Some may have come back, and been pushed, since all of it was listed.

    The lot's revisions were read before: who comes back after this look has another one as soon as it is pushed.
    """
    found = _mapped(source, mapping, [left.local_key for left in lot])
    back = {key for key, mapped in found if mapped.included or mapped.undecided}
    if back:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM syncline_candidate WHERE run_id = %s AND step = %s AND local_key = ANY(%s)",
                [source.run_id, STEP, sorted(back)],
            )
    return [left for left in lot if left.local_key not in back]


def staged(source: Source, size: int = 500) -> Iterator[list[Left]]:
    """What `stage` listed, as far as it is still linked."""
    scope, after = source.scope, 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                _LEAVING,
                [scope.connection_id, scope.object_type, scope.dataset, source.run_id, STEP, after, size],
            )
            rows = cursor.fetchall()
        if not rows:
            return
        after = rows[-1][0]
        yield [_left(row) for row in rows]


def _left(row: Sequence[Any]) -> Left:
    _, key, remote_id, revision, state, delivered, associations, doubt, why = row
    return Left(key, remote_id, revision, state, orjson.loads(delivered), orjson.loads(associations), doubt, why)


def remove_left(job: Job) -> None:
    """The part that comes last. Ends with the part done, or given back where it stands: then it is listed anew."""
    op = REMOVAL_OPS.get(job.sync.delete_policy)
    if op is None:  # the policy was changed meanwhile
        _done(job)
        return
    guard.check_may_remove(job.sync, job.object_type)
    targets = to_clear(job.mapping, job.object_type) if job.sync.delete_policy == Sync.DeletePolicy.CLEAR else ()
    number = stage(job.source, job.mapping, keys=_keys(job), clears=targets)
    if job.run.kind in LISTED:
        number = _only_approved(job)
    if job.run.kind != Run.Kind.REMOVAL and (reason := guard.objection(job, number)):
        _withhold(job, number, reason)
        return
    if _remove(job, lambda left: removal(left, op, targets), job.object_type.batch_sizes[op]):
        _finish(job)
    else:
        claims.release(job.claim.fence)


def _keys(job: Job) -> list[str] | None:
    """None: all records. Else those that this run was about since it last came here."""
    if job.run.kind in LISTED:
        found = PlanRow.objects.filter(run=job.run.plan_id, action=PlanRow.Action.REMOVE, state=PlanRow.State.PLANNED)
        return list(found.values_list("local_key", flat=True))
    before = job.run.parts.filter(kind=RunPart.Kind.LEAVING, pk__lt=job.part.pk).order_by("-pk").first()
    if job.run.kind in guard.FULL and before is None:
        return None
    parts = job.run.parts.filter(kind=RunPart.Kind.KEYS, pk__gt=before.pk if before else 0)
    return sorted({key for part in parts.values_list("keys", flat=True) for key in part})


def _remove(job: Job, work: Callable[[Left], Work], size: int) -> bool:
    """True when all that was listed has its verdict; False when it was told to stop first."""
    remover = Remover(job.connector, job.session, job.policy(), job.scope, job.claim.fence)
    open_ = 0
    for lot in staged(job.source, size):
        crash.point("removal.before")
        if still := without_returned(job.source, job.mapping, lot):
            open_ += len(remover.send([work(left) for left in still]).deferred)
        crash.point("removal.after")
        if job.interrupted():
            return False
    if open_:
        raise OutcomeUnknown(f"{open_} removals got no usable answer; they are sent again.")
    return True


def _only_approved(job: Job) -> int:
    """Exactly what the person saw, as far as it still leaves."""
    with connection.cursor() as cursor:
        cursor.execute(_NOT_LISTED, [job.run.pk, STEP, job.run.plan_id])
    _settle_list(job)
    return count(job.run.pk)


def _settle_list(job: Job) -> None:
    scope = job.scope
    with connection.cursor() as cursor:
        cursor.execute(
            _APPLIED,
            [job.run.plan_id, scope.connection_id, scope.object_type, scope.dataset, list(DONE_CODES), job.run.pk],
        )
        cursor.execute(_STALE, [job.run.plan_id, job.run.pk, STEP])


def _withhold(job: Job, number: int, reason: str) -> None:
    """The list is kept for a person; nothing is removed."""
    scope = job.scope
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_WITHHOLD, [scope.connection_id, scope.object_type, scope.dataset, job.run.pk, STEP])
        writer.advance(cursor, job.claim.fence, Counter(withheld=cursor.rowcount))
        ErrorGroup.objects.bulk_create([_group(job, number, reason)], ignore_conflicts=True)
        basis = guard.AWAITING + guard.basis(job.run) if job.run.kind in guard.FULL else ""
        Run.objects.filter(pk=job.run.pk).update(basis=basis)
        _done(job)


def _group(job: Job, number: int, reason: str) -> ErrorGroup:
    samples = [left.local_key for left in next(staged(job.source, 20), [])]
    return ErrorGroup(
        run_id=job.run.pk,
        cause=f"withheld {job.part.pk}",
        state=Link.State.EXCLUDED,
        code=WITHHELD,
        message=f"{number} records left this sync and were not removed there: {reason}",
        count=number,
        samples=samples,
    )


def _finish(job: Job) -> None:
    with transaction.atomic():
        if job.run.kind in LISTED:
            _settle_list(job)
        if guard.settles(job.run):
            Run.objects.filter(pk=job.run.pk).update(basis=guard.basis(job.run))
        _done(job)


def _done(job: Job) -> None:
    if not claims.finish(job.claim.fence):
        raise writer.FenceLost
