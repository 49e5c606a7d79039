"""Reading: records as declared, found by id and by value."""

from __future__ import annotations

from syncline.contract import Capability, MatchStep, ObjectType, Op, RemoteRecord
from syncline.contract.normalise import NORMALISERS

from ..canonical import problem
from ..check import check, expect
from ..lab import Lab, over
from ..listing import records


@check("records-fit", Capability.DISCOVER, Capability.PULL)
def records_fit(lab: Lab) -> None:
    """Every record pulled has an id and the properties asked for, canonical and valid for the declared schema."""
    names = tuple(lab.target.record(0))
    if Capability.PUSH in lab.able:
        lab.created()
        lab.settle()
    found = records(lab)
    expect(found, "`pull` gave no record: what was just written is missing, or the server is empty.")
    for record in found:
        _fits(record, lab.object_type)
    read = {name for record in found for name, value in record.properties.items() if value is not None}
    expect(set(names) <= read, f"No record has these properties, not even the one just written: {sorted(set(names) - read)}.")


def _fits(record: RemoteRecord, object_type: ObjectType) -> None:
    expect(isinstance(record.id, str) and record.id, f"A record's id is {record.id!r}, not a text.")
    for name, value in record.properties.items():
        definition = object_type.property(name)
        wrong = problem(value, definition) if definition else "it is not declared"
        expect(not wrong, f"The property `{name}` of the record {record.id}: {wrong}.")


@check("match", Capability.DISCOVER, Capability.MATCH, Capability.PUSH)
def match(lab: Lab) -> None:
    """`match` finds no record, one, or all of several, by our own key and by the normalised value of a property."""
    own, step = lab.object_type.unique_key, lab.target.match
    expect(own or step, "There is nothing to match by: neither an own unique key nor a `match` of the target.")
    if own:
        first, second, absent = lab.changes(3, Op.UPSERT)
        keys = [str(change.unique_key) for change in (first, second, absent)]
        _matches(lab, own, dict(zip(keys, [[lab.written(first)], [lab.written(second)], []], strict=True)))
    if step:
        _matches(lab, step.property, _shared(lab, step))


def _shared(lab: Lab, step: MatchStep) -> dict[str, list[str]]:
    """Normalised values and the ids of the records written with them: one, two (where the vendor allows it) and none."""
    definition = lab.object_type.property(step.property)
    alone, shared, copy, absent = lab.changes(4)
    wanted = [[lab.written(alone)], [lab.written(shared)], []]
    if not (definition and definition.unique):
        wanted[1].append(lab.written(over(copy, {step.property: shared.properties[step.property]})))
    values = [NORMALISERS[step.normalise](str(c.properties[step.property])) for c in (alone, shared, absent)]
    return dict(zip(values, wanted, strict=True))


def _matches(lab: Lab, step: str, wanted: dict[str, list[str]]) -> None:
    lab.settle()
    found = lab.call.match(session=lab.session(), object_type=lab.object_type, step=step, values=list(wanted))
    got = {value: sorted(found.get(value, ())) for value in wanted}
    asked = {value: sorted(ids) for value, ids in wanted.items()}
    expect(got == asked, f"By `{step}`, `match` must find {asked}, but gave {got}.")


@check("fetch-gone", Capability.DISCOVER, Capability.FETCH, Capability.PUSH)
def fetch_gone(lab: Lab) -> None:
    """`fetch` leaves out an id that is gone and gives the others."""
    expect(lab.target.missing_id, "The target has no `missing_id`: give an id that no record has.")
    [there] = lab.created()
    ids = [lab.target.missing_id, there]
    names = tuple(lab.target.record(0))
    found = lab.fetch(ids, names)
    expect(set(found) == {there}, f"Asked for one record that is there and one that is gone, `fetch` gave {sorted(found)}.")
