"""Whether a planned record still stands as it did: here, in the ledger, and in the account. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from syncline.contract import Property, RemoteRecord, Value
from syncline.ledger.models import Link
from syncline.runs.models import PlanRow
from syncline.runs.push.matching import Match
from syncline.runs.push.reader import LinkState
from syncline.syncs.engine.canonical import fingerprint
from syncline.syncs.engine.problems import Unmappable, shorten

from .values import from_json

LEFT: Final = "It is not part of the sync any more."
NAMED = 3


def values_of(row: PlanRow, properties: Mapping[str, Property]) -> dict[str, Value] | str:
    """The planned values, canonical; or why they cannot be written any more."""
    found: dict[str, Value] = {}
    for name, (_, value) in row.changes.items():
        if name not in properties:
            return f"The property {name} is not written any more: it was suspended or removed in the account."
        try:
            found[name] = from_json(properties[name], value)
        except Unmappable as error:
            return f"The property {name} is of another kind by now: {error}"
    return found


def in_doubt(row: PlanRow, link: LinkState | None) -> bool:
    """Whether it may have been sent before: by this application just before it was interrupted, or before the plan was made."""
    return bool(link and link.state == Link.State.UNCERTAIN and link.revision in (row.revision, row.revision + 1))


def link_moved(row: PlanRow, link: LinkState | None) -> str:
    """What became of the record's link since; "" when it is as planned."""
    if (link.revision if link else 0) == row.revision or in_doubt(row, link):
        return ""
    state = Link.State(link.state).label if link else "without a link"
    other = f", linked to {link.remote_id}" if link and link.remote_id and link.remote_id != row.remote_id else ""
    return f"Something else happened to it since the plan: it is now “{state}”{other}."


def match_moved(row: PlanRow, match: Match) -> str:
    """A create that would meet somebody, an adoption that would not meet the same one."""
    if match.code:
        return f"It needs review now: {match.reason}"
    if row.remote_id is None:
        return f"Remote record {match.remote_id} matches it now." if match.remote_id else ""
    if match.remote_id != row.remote_id:
        return f"It matches {f'remote record {match.remote_id}' if match.remote_id else 'no remote record'} now."
    return ""


def remote_moved(row: PlanRow, there: RemoteRecord | None, planned: Mapping[str, Value]) -> str:
    """What changed in the account, except what is as planned already: that is no change anybody minds."""
    if there is None:
        return f"Remote record {row.remote_id} was deleted."
    if there.id != row.remote_id:
        return f"Remote record {row.remote_id} was merged into {there.id}."
    changed = [name for name in row.prints if _moved(row, name, there.properties.get(name), planned)]
    said = [_said(row, name, there.properties.get(name)) for name in changed[:NAMED]]
    more = [f"{len(changed) - NAMED} more"] if len(changed) > NAMED else []
    return f"Changed there since: {'; '.join(said + more)}." if changed else ""


def _moved(row: PlanRow, name: str, now: Value, planned: Mapping[str, Value]) -> bool:
    then, print_ = row.prints[name][0], fingerprint(now)
    return print_ != then and not (name in planned and print_ == fingerprint(planned[name]))


def _said(row: PlanRow, name: str, now: Value) -> str:
    was = f" was {_shown(row.changes[name][0])}," if name in row.changes else ""
    return f"{name}{was} is {_shown(now)}"


def _shown(value: object) -> str:
    return "empty" if value is None or value == [] else f"“{shorten(value)}”"
