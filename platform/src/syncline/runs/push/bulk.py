"""A first load through the vendor's bulk jobs: spool, mark, hand in, ask again later, record.

Only records that would be created go this way, under our own key. Each link is marked before the file leaves, and bears the
job's tag until its result is stored; the token is stored before anybody asks for results. A job is handed in again only
after the vendor was asked for one of its name. Afterwards the run looks at everything once more, as it does without a job.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from django.db import connection, transaction

from syncline import background
from syncline.contract import BulkJob, BulkResult, Capability, ConfigError, OutcomeUnknown, Permanent, Status, UnsupportedFeature
from syncline.ledger import bulk as ledger
from syncline.ledger import writer
from syncline.ledger.records import MATCHED_JOB
from syncline.runs import claims, crash
from syncline.runs.job import Job
from syncline.runs.models import Run, RunPart
from syncline.runs.queue import QUEUE
from syncline.syncs.engine.content import WriteMode

from . import reader
from .bulk_outcome import carried_outcome
from .deciding import Deciding
from .sender import Sender
from .spool import Spool, importable, spooled
from .work import Policy, Work

WORTH_IT = 100
"""Records that a further job of the same run must have, when the first one was full."""

LOOK_AFTER = 5.0
"""Seconds until a job is looked for whose answer was lost."""

NOT_TAKEN = (Permanent, UnsupportedFeature, ConfigError)

log = logging.getLogger("syncline.runs")


def offered(job: Job) -> bool:
    """Whether this run may use bulk jobs at all."""
    sync, able = job.sync, {Capability.SUBMIT, Capability.COLLECT} <= job.connector.info.capabilities
    wanted = sync.bulk_from is not None and job.run.kind == Run.Kind.FULL and job.part.round == 0
    return (
        wanted
        and able
        and job.mapping.content.mode != "update"
        and bool(job.object_type.bulk_rows and job.object_type.unique_key)
    )


def matched_by(job: Job) -> str:
    """The property by which the job itself finds existing records, "" when that is done here.

    What such a job finds it overwrites, so that every rule must be one that would.
    """
    steps = job.mapping.content.match.steps
    if not (job.sync.bulk_match and steps and steps[0].property in job.object_type.bulk_match):
        return ""
    overwrites = all(rule.write_mode == WriteMode.OVERWRITE for rule in job.mapping.rules.values())
    return steps[0].property if overwrites else ""


def enough(job: Job, unlinked: int) -> bool:
    return offered(job) and unlinked >= (job.sync.bulk_from or 0)


def looks_up(job: Job, unlinked: int) -> bool:
    """Whether so many records are to be looked up in the account: before a job that matches by itself, or after one that did
    not, there is nothing to be learnt."""
    if job.part.round:
        return any(part.keys[0] for part in job.run.parts.filter(kind=RunPart.Kind.BULK))
    return not (enough(job, unlinked) and matched_by(job))


def begin(job: Job) -> None:
    """The range waits until the job's results are in. The part keeps who finds existing records, whatever is set meanwhile."""
    RunPart.objects.create(run=job.run, kind=RunPart.Kind.BULK, priority=job.part.priority, keys=[matched_by(job)])


def carry_out(job: Job) -> None:
    if job.part.token or _hand_in(job):
        _take_in(job)


# handing in


def _match_by(job: Job) -> str:
    return str(job.part.keys[0])


def _tag(job: Job) -> str:
    return f"{MATCHED_JOB if _match_by(job) else 'bulk '}{job.part.pk}"


def _hand_in(job: Job) -> bool:
    """True when the vendor has the job; else the part has ended or was given back."""
    tag, policy = _tag(job), job.policy()
    ledger.date(job.scope, tag)
    with Spool() as spool:
        full = _fill(job, spool, policy, tag)
        sent_before = next(ledger.waiting(job.scope, tag), None) is not None
        if not spool.count or not (full or sent_before or spool.count >= _least(job)):
            _leave(job, None, "")
            return False
        _mark(job, spool)
        crash.point("bulk.marked")
        return _submit(job, spool, tag)


def _least(job: Job) -> int:
    wanted = job.sync.bulk_from or 0
    return min(wanted, WORTH_IT) if job.part.after_key else wanted


def _fill(job: Job, spool: Spool, policy: Policy, tag: str) -> bool:
    """As many records as a job takes; what comes after them becomes a part of its own, and this job is full."""
    decide = Deciding(policy, job.scope, job.run.pk, job.source.dataset, lambda _keys: None)
    part, most, match_by = job.part, job.object_type.bulk_rows, _match_by(job)
    size = min(reader.CHUNK, most)
    for chunk in reader.chunks(job.source, after=part.after_key, until=part.until_key, size=size):
        job.lease.gate(0.0)
        for verdict in decide(chunk.rows):
            if isinstance(verdict, Work) and importable(verdict, tag, match_by):
                spool.add(spooled(policy, tag, verdict))
        if spool.count + size > most and chunk.last and chunk.read == size:
            _split(job, chunk.last)
            return True
    return False


def _split(job: Job, at: str) -> None:
    with transaction.atomic():
        if not claims.split_range(job.claim.fence, at, job.part.until_key):
            raise writer.FenceLost
        rest = job.run.parts.filter(kind=RunPart.Kind.BULK, after_key=at)
        rest.update(keys=job.part.keys)
    background.ring(QUEUE)


def _mark(job: Job, spool: Spool) -> None:
    for marks in spool.marks():
        job.lease.gate(0.0)
        kept = writer.mark(job.scope, job.claim.fence, marks)
        spool.drop({mark.local_key for mark in marks} - kept)


def _submit(job: Job, spool: Spool, tag: str) -> bool:
    name = f"Syncline {job.session.installation} {job.run.pk}.{job.part.pk}"
    asked = BulkJob(name, spool, _match_by(job), perhaps_sent=job.claim.fence.fence > 1)
    try:
        token = job.connector.call.submit(session=job.session, object_type=job.object_type, job=asked)
    except OutcomeUnknown as error:
        claims.release(job.claim.fence, after=LOOK_AFTER, error=str(error), spent=True)
        return False
    except NOT_TAKEN as error:
        certain = None if asked.perhaps_sent else tag
        _leave(job, certain, f"No bulk job was made, the records went one batch at a time: {error}")
        return False
    crash.point("bulk.accepted")
    _store(job, token)
    crash.point("bulk.token")
    return True


def _store(job: Job, token: str) -> None:
    fence = job.claim.fence
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE syncline_runpart SET token = %s, attempt = 0 WHERE id = %s AND fence = %s AND state = 'leased'",
            [token, fence.part_id, fence.fence],
        )
        if cursor.rowcount != 1:
            raise writer.FenceLost
    job.part.token = token


# taking in


def _take_in(job: Job) -> None:
    try:
        note = _collect(job)
    except NOT_TAKEN as error:
        note = str(error)
    if note is not None:
        _leave(job, None, note and f"{note} What the bulk job did not write went one batch at a time.")


def _collect(job: Job) -> str | None:
    """What the vendor says about the job as a whole; None when the part was given back before all results were in."""
    tag, policy, note, progress = _tag(job), job.policy(), "", False
    keys: Iterator[str] = (policy.unique_value(key) for key in ledger.waiting(job.scope, tag))
    token, object_type = job.part.token, job.object_type
    for page in job.connector.call.collect(session=job.session, object_type=object_type, token=token, keys=keys):
        if page.after is not None:
            claims.release(job.claim.fence, after=page.after)
            return None
        note = note or page.note
        progress |= _record(job, policy, tag, page.results)
        crash.point("bulk.recorded")
        if progress and job.interrupted():
            claims.release(job.claim.fence)
            return None
    return note


def _record(job: Job, policy: Policy, tag: str, results: Sequence[BulkResult]) -> bool:
    """True when something was stored that was not before."""
    job.lease.gate(0.0)
    told: dict[str, BulkResult] = {}
    for result in results:
        told.setdefault(result.unique_key.removeprefix(policy.key_prefix), result)
    carried = ledger.carried(job.scope, tag, job.run.pk, list(told))
    if not carried:
        return False
    rows = {row.key: row for chunk in reader.chosen(job.source, list(carried)) for row in chunk.rows}
    not_there = [key for key in carried if told[key].status is Status.NOT_SENT]
    if not_there:
        ledger.unmark(job.scope, job.claim.fence, tag, not_there)
    known = [key for key in carried if told[key].status not in (Status.NOT_SENT, Status.UNKNOWN)]
    outcomes = [carried_outcome(policy, carried[key], rows.get(key), told[key]) for key in known]
    sender = Sender(job.connector, job.session, policy, job.scope, job.claim.fence, job.definitions)
    sender.keep(outcomes)
    return bool(not_there or known)


def _leave(job: Job, tag: str | None, reason: str) -> None:
    """Ends the part; after the last one the run looks at everything again. `tag`: of a job that was certainly not taken."""
    if reason:
        log.warning("Run %s: %s", job.run.pk, reason)
    crash.point("bulk.done")
    with transaction.atomic():
        Run.objects.select_for_update(of=("self",)).get(pk=job.run.pk)
        if tag:
            ledger.unmark(job.scope, job.claim.fence, tag)
        if not claims.finish(job.claim.fence, RunPart.State.DONE, reason):
            raise writer.FenceLost
        if not job.run.parts.filter(kind=RunPart.Kind.BULK, state__in=RunPart.OPEN).exists():
            RunPart.objects.create(run=job.run, kind=RunPart.Kind.PREPARE, priority=job.part.priority, round=1)
    background.ring(QUEUE)
