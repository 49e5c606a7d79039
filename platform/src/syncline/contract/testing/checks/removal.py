"""Taking records away."""

from __future__ import annotations

from syncline.contract import Capability, Code, Op, PushResult, Status

from ..check import Breach, attempt, check, declared, expect, told
from ..lab import Lab
from ..listing import records

DONE = frozenset({Status.UPDATED, Status.UNCHANGED})


@check("removal", Capability.DISCOVER, Capability.PUSH)
def removal(lab: Lab) -> None:
    """What ARCHIVE or DELETE took away is neither fetched nor pulled, and to take away what is not there is no error."""
    expect(lab.target.missing_id, "The target has no `missing_id`: give an id that no record has.")
    offered = [op for op in (Op.ARCHIVE, Op.DELETE) if op in lab.object_type.batch_sizes]
    declared(offered, "archive or delete among its `batch_sizes`")
    for op in offered:
        _removal(lab, op)


def _removal(lab: Lab, op: Op) -> None:
    gone, going, there = lab.created(3)
    [result] = lab.removed([gone], op)
    expect(result.status is Status.UPDATED, f"The {op} of a record that is there gave {result}.")
    again = attempt(lambda: lab.removed([gone, going], op))
    if isinstance(again, Exception):
        raise Breach(f"The {op} of a record that is gone already raised {told(again)}.")
    expect(_harmless(again[0]), f"The {op} of a record that is gone already gave {again[0]}.")
    expect(again[1].status is Status.UPDATED, f"Beside one that is gone already, the {op} of a record gave {again[1]}.")
    [absent] = lab.removed([lab.target.missing_id], op)
    expect(_harmless(absent), f"The {op} of a record that never was gave {absent}.")
    _left(lab, op, {gone, going}, there)


def _harmless(result: PushResult) -> bool:
    not_found = result.error is not None and result.error.code is Code.NOT_FOUND
    return result.status in DONE or (result.status is Status.REJECTED and not_found)


def _left(lab: Lab, op: Op, gone: set[str], there: str) -> None:
    lab.settle()
    found: dict[str, set[str]] = {}
    if Capability.FETCH in lab.able:
        found["fetched"] = set(lab.fetch([*gone, there]))
    if Capability.PULL in lab.able:
        found["pulled"] = {record.id for record in records(lab)}
    for how, ids in found.items():
        expect(not gone & ids, f"After {op} these records were still {how}: {sorted(gone & ids)}.")
        expect(there in ids, f"After {op} of others, a record that is there was not {how}.")
