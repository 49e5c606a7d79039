"""Bulk jobs: found again by name, collected as often as wanted, with a result for every record."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from syncline.contract import BulkJob, BulkResult, Capability, Change, Op, OutcomeUnknown, Permanent, Status

from ..check import attempt, check, expect, told
from ..lab import Lab, over
from ..proxy import Fault, answer

BULK = (Capability.DISCOVER, Capability.PUSH, Capability.SUBMIT, Capability.COLLECT)
LOOKS = 50
WRITTEN = frozenset({Status.CREATED, Status.UPDATED, Status.UNCHANGED})


@check("bulk-results", *BULK, Capability.FETCH)
def bulk_results(lab: Lab) -> None:
    """An ended bulk job gives a result for each key: the record's id, why it was refused, or NOT_SENT where there is neither."""
    expect(lab.target.rejected, "The target has no `rejected`: give values that make the vendor refuse a record.")
    known, bad, *new = _changes(lab, 4)
    held, bad = lab.written(known), over(bad, lab.target.rejected or {})
    absent = _changes(lab, 1)[0]
    found = _collected(lab, _submitted(lab, _job([known, bad, *new])), [known, bad, *new, absent])
    expect(found[_key(known)].remote_id == held, f"The record {held} was there already, but its result is {found[_key(known)]}.")
    for change in new:
        _written(lab, change, found[_key(change)])
    refused, silent = found[_key(bad)], found[_key(absent)]
    reason = refused.error.message.strip() if refused.error else ""
    expect(refused.status is Status.REJECTED and reason, f"The bad record's result is {refused}: REJECTED with a reason, please.")
    expect(silent.status is Status.NOT_SENT, f"A record that was not in the job must be NOT_SENT, but its result is {silent}.")


def _written(lab: Lab, change: Change, result: BulkResult) -> None:
    name = lab.telling()
    expect(result.status in WRITTEN and result.remote_id, f"A good record in a bulk job got {result}.")
    got = lab.read(result.remote_id or "", [name]).get(name)
    sent = change.properties[name]
    expect(got == sent, f"The id {result.remote_id} was given for the record with {name} = {sent!r}, but has {got!r}.")


@check("bulk-once", *BULK)
def bulk_once(lab: Lab) -> None:
    """A job whose answer was lost is found again by its name and not sent a second time."""
    changes = _changes(lab, 2)
    job = _job(changes)
    with lab.proxy.playing(Fault(cut=True, forward=True, writes=True)):
        got = attempt(lambda: _submitted(lab, job))
    expect(isinstance(got, OutcomeUnknown), f"After a lost connection `submit` gave {told(got)} instead of OutcomeUnknown.")
    lab.proxy.seen.clear()
    token = _submitted(lab, replace(job, perhaps_sent=True))
    expect(not lab.proxy.writes, f"A job that had arrived was sent again: {lab.proxy.writes} more writes.")
    found = _collected(lab, token, changes)
    expect(all(r.status in WRITTEN for r in found.values()), f"The job that was found again ended with {list(found.values())}.")


@check("bulk-again", *BULK)
def bulk_again(lab: Lab) -> None:
    """A job can be collected again, whole or in part: whoever asked first may have died before it stored the answer."""
    changes = _changes(lab, 2)
    token = _submitted(lab, _job(changes))
    first = _collected(lab, token, changes)
    expect(_collected(lab, token, changes) == first, "A job collected a second time gave other results.")
    part = _collected(lab, token, changes[1:])
    wanted = {_key(c): first[_key(c)] for c in changes[1:]}
    expect({key: part[key] for key in wanted} == wanted, "A part of a job's keys, asked for alone, got other results.")


@check("bulk-refusal", *BULK)
def bulk_refusal(lab: Lab) -> None:
    """A 400 makes `submit` raise Permanent: nothing was taken, and the host sends the records in another way."""
    expect(lab.target.refusal is not None, "The target has no `refusal`: give the body of the vendor's answer 400.")
    job = _job(_changes(lab, 1))
    with lab.proxy.playing(answer(400, lab.target.refusal, writes=True)):
        got = attempt(lambda: _submitted(lab, job))
    expect(isinstance(got, Permanent), f"After a 400 `submit` gave {told(got)} instead of Permanent.")


def _changes(lab: Lab, count: int) -> list[Change]:
    able = lab.object_type.bulk_rows and lab.object_type.unique_key
    expect(able, "The object has no `bulk_rows`, or no unique key: let the target name one that is written in bulk.")
    return lab.changes(count, Op.UPSERT)


def _job(changes: Sequence[Change]) -> BulkJob:
    return BulkJob(f"conformance {uuid.uuid4().hex}", tuple(changes))


def _submitted(lab: Lab, job: BulkJob) -> str:
    token = lab.call.submit(session=lab.session(), object_type=lab.object_type, job=job)
    expect(isinstance(token, str) and token, f"`submit` gave {token!r}, not a text by which the job can be found.")
    return token


def _key(change: Change) -> str:
    return str(change.unique_key)


def _collected(lab: Lab, token: str, changes: Sequence[Change]) -> dict[str, BulkResult]:
    """Results by key once the job has ended; the first one of a key counts."""
    keys = [_key(change) for change in changes]
    for _ in range(LOOKS):
        pages = list(lab.call.collect(session=lab.session(), object_type=lab.object_type, token=token, keys=iter(keys)))
        if not (waits := [page.after for page in pages if page.after is not None]):
            found: dict[str, BulkResult] = {}
            for result in (result for page in pages for result in page.results):
                found.setdefault(result.unique_key, result)
            missing = sorted(set(keys) - set(found))
            expect(not missing, f"The job has ended, but of {len(keys)} keys these have no result: {missing}.")
            return found
        expect(len(pages) == 1, "A job that is still going on must yield one Collected with `after`, and nothing else.")
        lab.server.settle(waits[0])
    expect(False, f"Asked {LOOKS} times, the job {token} has not ended.")
    raise AssertionError("unreachable")
