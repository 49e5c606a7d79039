"""What does one remote record need here? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from syncline.contract import Op, RemoteRecord, Value
from syncline.ledger.models import Link
from syncline.ledger.records import Problem
from syncline.syncs.engine import Mode, NullPolicy
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.engine.inbound import MAPPED_BY, InboundRule
from syncline.syncs.engine.problems import shorten
from syncline.syncs.engine.threeway import UNKNOWN, Moments, Side, bases, holds

from .references import Referred
from .work import Arrived, Clash, Inflow, Known, Place, Refused

State = Link.State


def brief(flow: Inflow, record: RemoteRecord) -> str:
    return flow.glances.of(record).brief


def seen_now(flow: Inflow, record: RemoteRecord) -> dict[str, str]:
    """What a link keeps of the record: one digest or, where both sides may change it, a fingerprint for each property."""
    whole = {MAPPED_BY: brief(flow, record)}
    if not flow.two_way:
        return whole
    return {**flow.inbound.seen(record.properties), **whole}


def is_quiet(flow: Inflow, record: RemoteRecord, known: Known) -> bool:
    """Whether there is nothing about it that was not there when it was last stored, or nothing that concerns this sync."""
    if known.state in (State.GONE, State.MERGED):
        return False
    before = known.seen.get(MAPPED_BY)
    return before == brief(flow, record) or (flow.mode == Mode.CREATE and before != OPEN)


def title(record: RemoteRecord, names: tuple[str, ...]) -> str:
    """What people recognise the record by: its first texts."""
    texts = [value for name in names if isinstance(value := record.properties.get(name), str) and value]
    return shorten(" · ".join(texts[:2]), 200)


def refused(flow: Inflow, record: RemoteRecord, known: Known | None, mapped: Mapped) -> Refused | None:
    """Why the mapping cannot take the record; None when it can."""
    if mapped.problems:
        first = mapped.problems[0]
        more = f" ({len(mapped.problems) - 1} more problems in this record)" if len(mapped.problems) > 1 else ""
        problem = Problem(first.code.value, first.message + more, property=first.target, group=first.rule)
        return Refused(record, State.REJECTED, problem, "rejected", known, brief(flow, record))
    if not mapped.included:
        out = Problem("filtered", "The sync's filter leaves it out.")
        return Refused(record, State.EXCLUDED, out, "excluded", known, brief(flow, record))
    return None


def unplaced(flow: Inflow, record: RemoteRecord, place: Place) -> Refused | None:
    """Why a record without a link is not taken in; None when it is."""
    if place.problem is not None:
        return Refused(record, State.AMBIGUOUS, place.problem, "ambiguous", None, brief(flow, record))
    if place.local_key is None and flow.mode == Mode.UPDATE:
        missing = Problem("not_here", "There is no such record here, and this sync only updates.")
        return Refused(record, State.EXCLUDED, missing, "excluded", None, brief(flow, record))
    if place.local_key is not None and flow.mode == Mode.CREATE:
        there = Problem("exists", f"It exists here already as {place.local_key}, and this sync only creates.")
        return Refused(record, State.EXCLUDED, there, "excluded", None, brief(flow, record))
    return None


def arrived(
    flow: Inflow,
    record: RemoteRecord,
    known: Known | None,
    local_key: str | None,
    mapped: Mapped,
    refs: Referred,
    row: Mapping[str, Any] | None = None,
    changed: Moments = UNKNOWN,
) -> Arrived:
    """`row`: our record as it is now, where that matters; `changed`: when each side was changed last."""
    if local_key is None:
        taken = _all_values(flow, mapped, None)
        agreed = frozenset(rule.remote for rule in flow.inbound.rules)
        one = Arrived(record, None, Op.CREATE, None, taken, seen_now(flow, record), agreed)
    elif flow.two_way:
        one = _two_way(flow, record, known, local_key, mapped, row or {}, changed)
    else:
        taken = _all_values(flow, mapped, row or {})
        one = Arrived(record, known, Op.UPDATE, local_key, taken, seen_now(flow, record))
    return _with_references(one, refs)


def _with_references(one: Arrived, refs: Referred) -> Arrived:
    if refs == NO_REFERENCES:
        return one
    values = {**one.values, **refs.values}
    op = one.op or (Op.UPDATE if refs.values else None)
    seen = {**one.seen, MAPPED_BY: OPEN} if refs.missing else one.seen
    return replace(one, op=op, values=values, seen=seen, associations=refs.associations, waits=refs.missing, linked=refs.agreed)


NO_REFERENCES = Referred()

OPEN = "open"
"""Stands for the digest of a record that is to be looked at whenever it comes: something about it is not settled."""


def _all_values(flow: Inflow, mapped: Mapped, row: Mapping[str, Any] | None) -> dict[str, Value]:
    """What is written where theirs holds, by the rules' write modes; `row`: None for a new record."""
    return {
        rule.field: mapped.properties[rule.field]
        for rule in flow.inbound.rules
        if rule.field in mapped.properties and _writes(rule, mapped.properties[rule.field], row)
    }


def _writes(rule: InboundRule, value: Value, row: Mapping[str, Any] | None) -> bool:
    if row is None:
        return value is not None
    if rule.only_new or (value is None and (rule.only_empty or rule.rule.null_policy == NullPolicy.SKIP)):
        return False
    return not (rule.only_empty and row.get(rule.field) not in (None, "", (), []))


def _two_way(
    flow: Inflow,
    record: RemoteRecord,
    known: Known | None,
    local_key: str,
    mapped: Mapped,
    row: Mapping[str, Any],
    changed: Moments,
) -> Arrived:
    ours, now = flow.mapping.map(row).properties, seen_now(flow, record)
    values = _all_values(flow, mapped, row)
    agreed: set[str] = set()
    clashes: list[Clash] = []
    pushes = False
    for rule in flow.inbound.rules:
        if rule.remote not in flow.shared:
            agreed.add(rule.remote)
            continue
        if rule.remote not in ours or rule.remote not in record.properties:
            # ours is not valid there, or the filter leaves the record out, or it is not known there: it stays as it is
            values.pop(rule.field, None)
            _as_before(now, known, rule.remote)
            now[MAPPED_BY] = OPEN
            continue
        here, there = ours[rule.remote], record.properties.get(rule.remote)
        side = _side(rule, here, there, known, changed)
        if side is not Side.THERE:
            values.pop(rule.field, None)
        if side in (Side.AGREED, Side.THERE):
            agreed.add(rule.remote)
        if side in (Side.HERE, Side.CONFLICT):
            _as_before(now, known, rule.remote)
        pushes = pushes or side is Side.HERE
        if side is Side.CONFLICT:
            clashes.append(Clash(rule.remote, here, there))
    if clashes or pushes:
        now[MAPPED_BY] = OPEN
    op = Op.UPDATE if values else None
    return Arrived(record, known, op, local_key, values, now, frozenset(agreed), {}, tuple(clashes), pushes)


def _side(rule: InboundRule, here: Value, there: Value, known: Known | None, changed: Moments) -> Side:
    delivered, seen = bases(known.delivered, known.seen, rule.remote) if known else (None, None)
    return holds(rule.owner, here, there, delivered, seen, changed.newer(rule.remote))


def _as_before(now: dict[str, str], known: Known | None, name: str) -> None:
    """What they changed is not taken in, so it counts as changed the next time as well."""
    before = known.seen.get(name) if known else None
    if before is None:
        now.pop(name, None)
    else:
        now[name] = before
