"""One batch of messages: applied in their order, each customer once read and once written."""

from __future__ import annotations

from collections.abc import Sequence

from syncline.contract import DatasetInfo, LocalChange, RecordError, Status, Written

from . import tables
from .applying import Customer, Outcome, World, apply
from .reading import Refused, Rules, Told, read


def write(changes: Sequence[LocalChange], info: DatasetInfo) -> list[Written]:
    """One answer per change, in their order. ValueError when two have one token: their answers could not be told apart."""
    if len({change.token for change in changes}) < len(changes):
        raise ValueError("Two changes of a batch have the same token.")
    world = tables.world()
    rules = Rules(info, world.known)
    asked = [_read(change, rules) for change in changes]
    ids = {told.salesforce_id for told in asked if isinstance(told, Told)}
    customers, outcome = tables.locked(ids) if ids else {}, Outcome()
    written = [_applied(told, customers, world, outcome) for told in asked]
    tables.store([one for one in customers.values() if one.touched], outcome)
    return written


def _read(change: LocalChange, rules: Rules) -> Told | Written:
    try:
        return read(change, rules)
    except Refused as refused:
        return _rejected(change.token, refused.error)


def _applied(told: Told | Written, customers: dict[str, Customer], world: World, outcome: Outcome) -> Written:
    if isinstance(told, Written):
        return told
    customer = customers[told.salesforce_id]
    try:
        return Written(told.token, apply(customer, told, world, outcome), str(customer.id))
    except Refused as refused:
        return _rejected(told.token, refused.error)


def _rejected(token: str, error: RecordError) -> Written:
    return Written(token, Status.REJECTED, error=error)
