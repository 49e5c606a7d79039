"""What a plan says of one record: pure, from what the push would do and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from syncline.contract import RemoteRecord, Value
from syncline.ledger.records import Outcome
from syncline.runs.models import PlanRow
from syncline.runs.push.work import Policy, Work, associations, waiting_problem
from syncline.syncs.engine.canonical import fingerprint
from syncline.syncs.engine.content import WriteMode
from syncline.syncs.engine.diff import Write, plan_write

from .values import to_json

Action = PlanRow.Action

#: Counter of a push → action of a plan.
ACTIONS: Final = {
    "unchanged": Action.UNCHANGED,
    "rejected": Action.REJECTED,
    "ambiguous": Action.AMBIGUOUS,
    "excluded": Action.EXCLUDED,
    "gone": Action.GONE,
}
#: Action of a plan → counter of its run.
COUNTERS: Final = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.ADOPT: "adopted",
    Action.BLOCKED: "unchanged",
    Action.REMOVE: "removed",
    **{action: counter for counter, action in ACTIONS.items()},
}
GONE: Final = {
    "leave": "The sync leaves it so.",
    "review": "The next push puts it on the review list.",
    "recreate": "The next push creates it again, unless another record matches by then.",
}


@dataclass(frozen=True, slots=True)
class Planned:
    """A PlanRow before it is stored; for the columns see there."""

    local_key: str
    action: Action
    remote_id: str | None = None
    reason: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, Any] = field(default_factory=dict)
    associations: Mapping[str, Any] = field(default_factory=dict)
    prints: Mapping[str, Any] = field(default_factory=dict)
    revision: int = 0
    source_hash: int | None = None


def asked(policy: Policy) -> list[str]:
    """Properties whose remote values a plan compares."""
    own = policy.object_type.unique_key
    return list(dict.fromkeys([*policy.mapping.rules, *([own] if own else [])]))


def without_call(outcome: Outcome) -> Planned:
    """For what a push would settle by itself."""
    return Planned(
        outcome.local_key,
        ACTIONS[outcome.counter],
        outcome.remote_id,
        outcome.problem.reason if outcome.problem else "",
        revision=outcome.revision,
        source_hash=outcome.source_hash,
    )


def planned(policy: Policy, work: Work, there: RemoteRecord | None, owner: str = "") -> Planned:
    """`there`: what answers to the work's remote id, None for nothing; `owner`: who that is linked to, when it is another one."""
    if work.remote_id is None:
        return _row(work, Action.CREATE, work.write, {})
    if there is None:
        return _gone(policy, work)
    if there.id == work.remote_id:
        return _compared(policy, work, there.properties)
    if owner:
        reason = f"Remote record {work.remote_id} was merged into {there.id}, which is linked to our record {owner}."
        return replace(_row(work, Action.GONE, Write(), {}), reason=reason, associations={})
    moved = replace(work, remote_id=there.id, delivered=None, have={})
    return replace(
        _compared(policy, moved, there.properties), reason=f"Remote record {work.remote_id} was merged into {there.id}."
    )


def _gone(policy: Policy, work: Work) -> Planned:
    if work.adopting:
        reason = f"Remote record {work.remote_id} is not there any more. Plan again."
        return replace(_row(work, Action.GONE, Write(), {}), reason=reason, associations={})
    what = "leave" if policy.mode == "update" else policy.gone_policy
    action = Action.AMBIGUOUS if what == "review" else Action.GONE
    reason = f"Remote record {work.remote_id} was deleted there. {GONE[what]}"
    return replace(_row(work, action, Write(), {}), reason=reason, associations={})


def _compared(policy: Policy, work: Work, there: Mapping[str, Value]) -> Planned:
    write = plan_write(policy.mapping, work.mapped, work.delivered, creating=False, remote=there)
    properties = {**write.properties, **own_key(policy, work, there)}
    kept = _kept(policy, work, write, there)
    prints = {name: [fingerprint(there.get(name)), write.settled.get(name)] for name in asked(policy)}
    row = replace(_row(work, Action.UPDATE, Write(properties, write.settled), there), kept=kept, prints=prints)
    return replace(row, action=_action(work, row))


def own_key(policy: Policy, work: Work, there: Mapping[str, Value]) -> dict[str, Value]:
    """Our unique property, which an adopted record is given."""
    name, value = policy.object_type.unique_key, policy.unique_value(work.key)
    return {name: value} if name and work.adopting and work.keyed and there.get(name) != value else {}


def _kept(policy: Policy, work: Work, write: Write, there: Mapping[str, Value]) -> dict[str, Any]:
    """Values that a write mode keeps from being written."""
    kept = {}
    for target, value in work.mapped.properties.items():
        mode = policy.mapping.rules[target].write_mode
        if mode not in (WriteMode.IF_EMPTY, WriteMode.IF_NEW) or value is None or target in write.properties:
            continue
        settled = (work.delivered or {}).get(target) == fingerprint(value)
        if not settled and fingerprint(there.get(target)) != fingerprint(value):
            kept[target] = [to_json(there.get(target)), to_json(value), str(mode)]
    return kept


def _action(work: Work, row: Planned) -> Action:
    if work.adopting:
        return Action.ADOPT
    if row.changes or any(one["add"] or one["remove"] for one in row.associations.values()):
        return Action.UPDATE
    return Action.BLOCKED if row.kept else Action.UNCHANGED


def _row(work: Work, action: Action, write: Write, there: Mapping[str, Value]) -> Planned:
    waiting = waiting_problem(work.references)
    return Planned(
        work.key,
        action,
        work.remote_id,
        waiting.reason if waiting else "",
        changes={name: [to_json(there.get(name)), to_json(value)] for name, value in write.properties.items()},
        associations=_associations(work),
        prints={name: [None, print_] for name, print_ in write.settled.items()},
        revision=work.revision,
        source_hash=work.row.hash,
    )


def _associations(work: Work) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for change in associations(work.references, work.have):
        one = found.setdefault(change.object_type, {"add": [], "remove": [], "missing": []})
        one["remove" if change.remove else "add"].append(change.remote_id)
    for object_type, missing in work.references.missing.items():
        if missing:
            found.setdefault(object_type, {"add": [], "remove": [], "missing": []})["missing"] += missing
    return found
