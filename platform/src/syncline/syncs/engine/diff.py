"""What must be written: mapped values against what was delivered, per property."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from syncline.contract.values import Value

from .canonical import fingerprint
from .compile import CompiledMapping, Mapped
from .content import NullPolicy, WriteMode
from .rules import CompiledRule

UNSURE: Final = "?"
"""Stands for the fingerprint of what was delivered to a property that was suspended since: what is there is not known."""


@dataclass(frozen=True, slots=True)
class Write:
    """`properties`: to send. `settled`: the link's delivered fingerprints once that is confirmed.

    `needs_remote`: properties whose remote value decides; ask again with `remote` to have them in the other two. Until then
    `settled` keeps what was delivered for them before.
    """

    properties: dict[str, Value] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    needs_remote: frozenset[str] = frozenset()


def plan_write(
    compiled: CompiledMapping,
    mapped: Mapped,
    delivered: Mapping[str, str] | None,
    creating: bool,
    remote: Mapping[str, Value] | None,
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
        undecided = known.get(target) == UNSURE and remote is None
        if undecided or (known.get(target) != print_ and not _place(write, rule, value, creating, remote)):
            needed.add(target)
            _keep(write, target, known)
        else:
            write.settled[target] = print_
    write.settled.update({target: UNSURE for target in compiled.unsure if target in known})
    return Write(write.properties, write.settled, frozenset(needed))


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
