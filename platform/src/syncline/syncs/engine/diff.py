"""What must be written: mapped values against what was delivered, per property."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from syncline.contract.values import Value

from .canonical import fingerprint
from .compile import CompiledMapping, Mapped
from .content import NullPolicy, WriteMode
from .rules import CompiledRule
from .threeway import UNKNOWN, UNSURE, Moments, Side, bases, holds


@dataclass(frozen=True, slots=True)
class Write:
    """`properties`: to send. `settled`: the link's delivered fingerprints once that is confirmed.

    `needs_remote`: properties whose remote value decides; ask again with `remote` to have them in the other two. Until then
    `settled` keeps what was delivered for them before.
    `seen`: fingerprints of what will be there, of properties that both sides may change. `clashes`: those that both did change,
    with our value and theirs; they are not written.
    """

    properties: dict[str, Value] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    needs_remote: frozenset[str] = frozenset()
    seen: dict[str, str] = field(default_factory=dict)
    clashes: dict[str, tuple[Value, Value]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Before:
    """What both sides were when they last agreed, for properties that both may change: see `threeway`.

    `seen`: the link's fingerprints of what was there; `changed`: when each side was changed last.
    """

    seen: Mapping[str, str] = field(default_factory=dict)
    changed: Moments = UNKNOWN


NEVER: Final = Before()


def plan_write(
    compiled: CompiledMapping,
    mapped: Mapped,
    delivered: Mapping[str, str] | None,
    creating: bool,
    remote: Mapping[str, Value] | None,
    before: Before = NEVER,
) -> Write:
    """`delivered`: the link's fingerprints, None when unknown (all is sent). `remote`: current values, as far as known.

    A property that is missing in `remote` is empty there if its write mode asks. The fingerprint settled for `if_empty`,
    `if_new` and `append` is that of our own value, so that the next run is silent. A rule that failed keeps what was
    delivered; a rule that was removed has no place in `settled`, and one that is suspended has UNSURE there: when it comes back,
    the remote value decides.
    """
    known: Mapping[str, str] = {} if creating or delivered is None else delivered
    write, needed = Write(), set()
    for target, rule in compiled.rules.items():
        if target not in mapped.properties:
            _keep(write, target, known)
            continue
        value = mapped.properties[target]
        print_ = fingerprint(value)
        if target in compiled.owners and (creating or known.get(target) != print_):
            if not _shared(write, compiled, rule, value, known, creating, remote, before):
                needed.add(target)
                _keep(write, target, known)
            continue
        undecided = known.get(target) == UNSURE and remote is None
        if undecided or (known.get(target) != print_ and not _place(write, rule, value, creating, remote)):
            needed.add(target)
            _keep(write, target, known)
        else:
            write.settled[target] = print_
    write.settled.update({target: UNSURE for target in compiled.unsure if target in known})
    return replace(write, needs_remote=frozenset(needed))


def _shared(
    write: Write,
    compiled: CompiledMapping,
    rule: CompiledRule,
    value: Value,
    known: Mapping[str, str],
    creating: bool,
    remote: Mapping[str, Value] | None,
    before: Before,
) -> bool:
    """A property that they may have changed as well; False when their value has to be asked for first."""
    target = rule.target
    if remote is None and not creating:
        return False
    there = None if creating else (remote or {}).get(target)
    delivered, seen = bases(known, before.seen, target)
    side = Side.HERE if creating else holds(compiled.owners[target], value, there, delivered, seen, before.changed.newer(target))
    if side in (Side.AGREED, Side.HERE):
        write.settled[target] = fingerprint(value)
        if side is Side.HERE:
            _place(write, rule, value, creating, remote or {})
        write.seen[target] = fingerprint(write.properties.get(target, there))
    else:
        _keep(write, target, known)
    if side is Side.CONFLICT:
        write.clashes[target] = (value, there)
    return True


def _keep(write: Write, target: str, known: Mapping[str, str]) -> None:
    if target in known:
        write.settled[target] = known[target]


def _place(write: Write, rule: CompiledRule, value: Value, creating: bool, remote: Mapping[str, Value] | None) -> bool:
    """Adds what must be sent for a changed value; False when that depends on the remote value."""
    if value is None and (creating or rule.null_policy == NullPolicy.SKIP or rule.write_mode != WriteMode.OVERWRITE):
        return True
    if creating:
        write.properties[rule.target] = value
        return True
    if rule.write_mode == WriteMode.IF_NEW:
        return True
    if rule.write_mode == WriteMode.OVERWRITE:
        if not _is_there(rule.target, value, remote):
            write.properties[rule.target] = value
        return True
    if remote is None:
        return False
    _place_beside(write, rule, value, remote.get(rule.target))
    return True


def _is_there(target: str, value: Value, remote: Mapping[str, Value] | None) -> bool:
    return remote is not None and target in remote and fingerprint(remote[target]) == fingerprint(value)


def _place_beside(write: Write, rule: CompiledRule, value: Value, there: Value) -> None:
    if rule.write_mode == WriteMode.IF_EMPTY:
        if there is None or there in ("", ()):
            write.properties[rule.target] = value
        return
    before, ours = _members(there), _members(value)
    if not ours <= before:
        write.properties[rule.target] = tuple(sorted(before | ours))


def _members(value: Value) -> set[str]:
    if isinstance(value, tuple):
        return set(value)
    return {value} if isinstance(value, str) and value else set()
