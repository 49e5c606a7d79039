"""Writes: verdicts by key, idempotency, values that arrive as they were sent."""

from __future__ import annotations

from dataclasses import replace

from syncline.contract import Capability, Change, Code, ObjectType, Op, PullRequest, Status, Value

from ..check import attempt, check, expect, told
from ..lab import Lab, over

WRITES = (Capability.DISCOVER, Capability.PUSH)
WRITTEN = frozenset({Status.CREATED, Status.UPDATED, Status.UNCHANGED})


@check("results-by-key", *WRITES, Capability.FETCH)
def results_by_key(lab: Lab) -> None:
    """`push` gives one result per change, under its key and with its own remote id, in whatever order the vendor answers."""
    telling = lab.telling()
    changes = lab.changes(min(3, _size(lab, Op.CREATE)))
    results = lab.push(changes)
    keys = sorted(r.local_key for r in results)
    expect(keys == sorted(c.local_key for c in changes), f"{len(changes)} changes gave results for {keys}.")
    ids = {r.local_key: r.remote_id for r in results}
    for change in changes:
        remote_id, sent = ids[change.local_key], change.properties[telling]
        expect(remote_id, f"A created record has no remote id: {results}.")
        got = lab.read(remote_id or "", [telling]).get(telling)
        expect(got == sent, f"The id {remote_id} was given for the record with {telling} = {sent!r}, but has {got!r}.")


@check("upsert-once", *WRITES)
def upsert_once(lab: Lab) -> None:
    """The same upsert pushed twice leaves one remote record, named both times."""
    expect(lab.object_type.unique_key, "The object has no unique key for upserts, not even after `key_property` was created.")
    [change] = lab.changes(1, Op.UPSERT)
    first, second = lab.written(change), lab.written(change)
    expect(first == second, f"Two pushes of the same upsert gave the ids {first} and {second}.")
    if Capability.PULL in lab.able:
        lab.settle()
        held = _with_key(lab, change.unique_key)
        expect(held == [first], f"Two pushes of the same upsert left the records {held}.")


def _with_key(lab: Lab, unique_key: str | None) -> list[str]:
    name = lab.object_type.unique_key or ""
    pages = lab.call.pull(session=lab.session(), object_type=lab.object_type, request=PullRequest(properties=(name,)))
    return [r.id for page in pages for r in page.records if r.properties.get(name) == unique_key]


@check("missing-record", *WRITES)
def missing_record(lab: Lab) -> None:
    """An update of a record that is not there is refused with Code.NOT_FOUND."""
    expect(lab.target.missing_id, "The target has no `missing_id`: give an id that no record has.")
    [change] = lab.changes(1, Op.UPDATE)
    results = lab.push([replace(change, remote_id=lab.target.missing_id)])
    codes = [(r.status, r.error.code if r.error else None) for r in results]
    expect(codes == [(Status.REJECTED, Code.NOT_FOUND)], f"An update of a missing record gave {results}.")


@check("bad-record", *WRITES)
def bad_record(lab: Lab) -> None:
    """One refused record among good ones is refused with a reason, and the good ones are written."""
    expect(lab.target.rejected, "The target has no `rejected`: give values that make the vendor refuse a record.")
    size = min(3, _size(lab, Op.CREATE))
    changes = lab.changes(size)
    bad = over(changes[size // 2], lab.target.rejected or {})
    changes[size // 2] = bad
    verdicts = lab.verdicts(changes)
    expect(set(verdicts) == {c.local_key for c in changes}, f"{size} changes gave verdicts for {sorted(verdicts)}.")
    refused = verdicts[bad.local_key]
    expect(refused.status is Status.REJECTED, f"The bad record's verdict is {refused}.")
    expect(refused.error and refused.error.message.strip(), f"The refused record has no reason: {refused}.")
    good = [verdicts[c.local_key] for c in changes if c is not bad]
    expect(all(r.status is Status.CREATED for r in good), f"Good records beside a bad one got {good}.")


@check("round-trip", *WRITES, Capability.FETCH)
def round_trip(lab: Lab) -> None:
    """Values read back by `fetch` equal the canonical values sent, for every kind the object has."""
    [change] = lab.changes(1)
    missing = _kinds(lab.object_type) - {p.kind for p in lab.object_type.properties if p.name in change.properties}
    expect(not missing, f"`record` of the target has no value of these kinds of the object: {', '.join(sorted(missing))}.")
    remote_id = lab.written(change)
    got = lab.read(remote_id, tuple(change.properties))
    differing = {n: (v, got.get(n)) for n, v in change.properties.items() if not _equal(v, got.get(n))}
    expect(not differing, f"Sent and read back differ (sent, read): {differing}.")


@check("clear", *WRITES, Capability.FETCH)
def clear(lab: Lab) -> None:
    """None clears a property."""
    [change] = lab.changes(1)
    remote_id = lab.written(change)
    required = {p.name for p in lab.object_type.properties if p.required}
    names = [name for name in change.properties if name not in required]
    expect(names, "Every property of the target's `record` is required: add one that can be cleared.")
    lab.written(Change(change.local_key, Op.UPDATE, remote_id, properties=dict.fromkeys(names)))
    left = {n: v for n, v in lab.read(remote_id, names).items() if n in names and v is not None}
    expect(not left, f"Cleared with None, but still there: {left}.")


@check("batch-size", *WRITES)
def batch_size(lab: Lab) -> None:
    """A batch of the declared size is accepted, and `fetch` takes more ids than that."""
    changes = lab.changes(_size(lab, Op.CREATE))
    results = attempt(lambda: lab.push(changes))
    expect(isinstance(results, list), f"A batch of the declared size {len(changes)} gave {told(results)}.")
    ids = [r.remote_id for r in results if r.remote_id] if isinstance(results, list) else []
    expect(len(ids) == len(changes), f"Of a batch of the declared size {len(changes)}, {len(ids)} records were created.")
    if Capability.FETCH in lab.able:
        ids += lab.created()
        found = attempt(lambda: lab.fetch(ids))
        got = told(found) if isinstance(found, Exception) else f"{len(found)} records"
        expect(not isinstance(found, Exception) and set(found) == set(ids), f"Asked for {len(ids)} records, `fetch` gave {got}.")


def _size(lab: Lab, op: Op) -> int:
    size = lab.object_type.batch_sizes.get(op)
    expect(size, f"The object offers no {op}: say so in the target's `skip`.")
    return size or 0


def _kinds(object_type: ObjectType) -> set[str]:
    return {p.kind for p in object_type.properties if not p.read_only and not _without_choices(object_type, p.name)}


def _without_choices(object_type: ObjectType, name: str) -> bool:
    """A choice whose list is empty cannot be written with a sample."""
    found = object_type.property(name)
    return found is not None and found.kind in {"choice", "set"} and not found.choices


def _equal(sent: Value, got: Value) -> bool:
    """Of one type and equal: True is not 1, and 1.0 is not canonical."""
    return type(sent) is type(got) and sent == got
