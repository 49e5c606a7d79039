"""Who is who: pure decisions over what the candidates and the index say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from syncline.contract import MatchRule

from .identities import index_name


@dataclass(frozen=True, slots=True)
class Hit:
    """A remote record that shares a match value with a local one.

    `owner`: local key of the record that is already linked to it, "" for none. `own_key`: value of our unique property
    there. `values`: its normalised identifiers by the index name of the step.
    `orphan`: the local key it is linked to, of a record of ours that is no longer there.
    """

    remote_id: str
    owner: str = ""
    own_key: str = ""
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    orphan: str = ""


@dataclass(frozen=True, slots=True)
class StepFinding:
    """One step's value of a local record: which unlinked local records share it, and which remote ones have it."""

    step: int
    value: str
    here: tuple[str, ...]
    there: tuple[Hit, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """`remote_id`: adopt that record; neither it nor a reason: create.

    `keyed`: the record there may be given our key. `own`: it carries it already. `orphan`: key of our vanished record from
    whose link it is taken over.
    """

    remote_id: str | None = None
    reason: str = ""
    code: str = ""
    keyed: bool = True
    own: bool = False
    orphan: str = ""


CREATE = Match()


def decide(rule: MatchRule, key: str, own: Sequence[Hit], findings: Sequence[StepFinding], unique_value: str) -> Match:
    """Our own key first, then the rule's steps in order; several hits, or a hit that belongs to another, go to review."""
    if own:
        return replace(_adopt(own, key, "our own key", unique_value), own=True)
    by_step = {f.step: f for f in findings}
    for number, step in enumerate(rule.steps):
        finding = by_step.get(number)
        if finding is None:
            continue
        others = [k for k in finding.here if k != key]
        if others and not step.only_if_unique:
            return _shared(step.property, finding.value, others)
        # weak: a record linked to another of ours has that one's value, whichever of the two was sent first
        there = [h for h in finding.there if h.owner in ("", key)] if step.only_if_unique else finding.there
        if not there:
            continue
        if others:
            return _shared(step.property, finding.value, others)
        if step.only_if_unique and (clash := _contradiction(rule, number, by_step, there)):
            return clash
        return _adopt(there, key, f"{step.property} {finding.value!r}", unique_value)
    return CREATE


def _adopt(hits: Sequence[Hit], key: str, by: str, unique_value: str) -> Match:
    if len(hits) > 1:
        ids = ", ".join(h.remote_id for h in hits[:5])
        return Match(
            code="several_remote",
            reason=f"{len(hits)} remote records match by {by}: {ids}. Merge them there, or link one of them by hand.",
        )
    hit = hits[0]
    if hit.owner and hit.owner != key:
        return Match(
            code="linked_to_other",
            reason=f"Remote record {hit.remote_id} matches by {by}, but is linked to our record {hit.owner}."
            " Correct one of the two records, or move the link.",
        )
    if hit.orphan:
        return Match(remote_id=hit.remote_id, orphan=hit.orphan)
    if hit.own_key and hit.own_key != unique_value:
        if _same_installation(hit.own_key, unique_value):
            return Match(
                code="keyed_to_other",
                reason=f"Remote record {hit.remote_id} matches by {by}, but carries the key of our record {hit.own_key}."
                " Clear that property there, or correct one of the two records.",
            )
        return Match(remote_id=hit.remote_id, keyed=False)
    return Match(remote_id=hit.remote_id)


def _same_installation(one: str, other: str) -> bool:
    return one.split(":", 1)[0] == other.split(":", 1)[0]


def _shared(name: str, value: str, others: Sequence[str]) -> Match:
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return Match(
        code="shared_here",
        reason=f"Our record shares {name} {value!r} with our record {', '.join(others[:3])}{more}."
        " Correct or merge them here; nothing was sent.",
    )


def _contradiction(rule: MatchRule, number: int, mine: Mapping[int, StepFinding], hits: Sequence[Hit]) -> Match | None:
    """A weak match is no match when a stronger identifier says that they differ."""
    for stronger, step in enumerate(rule.steps[:number]):
        ours = mine.get(stronger)
        if ours is None:
            continue
        for hit in hits:
            theirs = hit.values.get(index_name(step), frozenset())
            if theirs and ours.value not in theirs:
                same, other = rule.steps[number].property, step.property
                return Match(
                    code="contradiction",
                    reason=f"Remote record {hit.remote_id} has the same {same}, but another {other}"
                    f" ({', '.join(sorted(theirs)[:3])}, ours {ours.value!r}). Decide which one it is and link it by hand.",
                )
    return None
