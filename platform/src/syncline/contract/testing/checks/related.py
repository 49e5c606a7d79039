"""What a record brings along: empty values, associations, merged ids, earlier values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import replace

from syncline.contract import Association, Capability, Change, Kind, Op, RemoteRecord

from ..check import LeftOut, check, declared, expect
from ..lab import Lab
from ..listing import APART, later, records

BOTH = (Capability.DISCOVER, Capability.FETCH, Capability.PULL, Capability.PUSH)


@check("empty-values", *BOTH)
def empty_values(lab: Lab) -> None:
    """A property asked for that has no value comes as None, by `fetch` and every kind of pull: left out, it is not known."""
    name, remote_id, since = _without_value(lab)
    lab.settle()
    ways: dict[str, Iterable[RemoteRecord]] = {}
    if since:
        ways["a pull of what changed"] = records(lab, properties=(name,), since=since)
    ways["`fetch`"] = lab.fetch([remote_id], [name]).values()
    ways["`pull`"] = records(lab, properties=(name,))
    for by, found in ways.items():
        got = next((one for one in found if one.id == remote_id), None)
        expect(got, f"The record {remote_id} that was just written did not come by {by}.")
        told = got.properties.get(name, "left out") if got else ""
        expect(told is None, f"`{name}` of the record {remote_id} is empty, but by {by} it is {told!r} and not None.")


def _without_value(lab: Lab) -> tuple[str, str, dt.datetime | None]:
    """A property, a new record that has no value of it, and a moment before that, where the object can be asked since one."""
    since = later(lab) if lab.object_type.pull_since else None
    [change] = lab.changes(1)
    known = {p.name: p for p in lab.object_type.properties if not p.required and p.kind is not Kind.BOOLEAN}
    names = [name for name in change.properties if name in known]  # some systems know no empty yes or no
    expect(names, "Every property of the target's `record` is required or a yes or no: add one that can be empty.")
    values = {name: value for name, value in change.properties.items() if name != names[0]}
    return names[0], lab.written(replace(change, properties=values)), since


@check("associations", *BOTH)
def associations(lab: Lab) -> None:
    """Associations asked for come whole, and alike by `fetch` and by every kind of pull; one that was taken away does not."""
    declared(lab.object_type.associations, "`associations`")
    known = {other.object_type for other in lab.object_type.associations}
    expect(lab.target.partner or lab.object_type.key in known, f"The target has no `partner`: give an object of {sorted(known)}.")
    since = later(lab)
    key, partners = lab.partners(lab.object_type.page_size + 2)
    wanted = {_associated(lab, key, some): sorted(some) for some in (partners[:-1], partners[-1:])}
    if lab.object_type.pull_since:
        lab.settle()
        _given("a pull of what changed", key, wanted, records(lab, since=since, associations=(key,)))
    _told_alike(lab, key, wanted)
    [first, *_] = wanted
    if Op.ASSOCIATE in lab.object_type.batch_sizes:
        lab.push([Change(first, Op.ASSOCIATE, first, associations=(Association(key, partners[0], remove=True),))])
        _told_alike(lab, key, wanted | {first: sorted(partners[1:-1])})


def _told_alike(lab: Lab, key: str, wanted: dict[str, list[str]]) -> None:
    lab.settle()
    _given("`fetch`", key, wanted, lab.fetch(list(wanted), associations=(key,)).values())
    _given("`pull`", key, wanted, records(lab, associations=(key,)))


def _associated(lab: Lab, key: str, others: list[str]) -> str:
    """A new record with these associations, by the way the object offers."""
    ends = tuple(Association(key, other) for other in others)
    [change] = lab.changes(1)
    if Op.ASSOCIATE not in lab.object_type.batch_sizes:
        return lab.written(replace(change, associations=ends))
    remote_id = lab.written(change)
    lab.push([Change(remote_id, Op.ASSOCIATE, remote_id, associations=ends)])
    return remote_id


def _given(by: str, key: str, wanted: Mapping[str, list[str]], found: Iterable[RemoteRecord]) -> None:
    got = {record.id: sorted(record.associations.get(key, ())) for record in found if record.id in wanted}
    for remote_id, ids in wanted.items():
        have = got.get(remote_id)
        expect(have is not None, f"The record {remote_id}, whose associations are wanted, did not come by {by}.")
        shown = f"{len(have or ())}: {(have or [])[:5]}"
        expect(have == ids, f"The record {remote_id} has {len(ids)} associations with {key}, but by {by} came {shown}.")


@check("merged", *BOTH)
def merged(lab: Lab) -> None:
    """Of merged records the one that is left is pulled and names the others, and each old id fetches it."""
    merge = lab.server.merge
    if merge is None:
        raise LeftOut("the server has no `merge`")
    into, gone = lab.created(2)
    lab.settle()
    merge(into, gone)
    lab.settle()
    fetched = lab.fetch([into, gone])
    expect(set(fetched) == {into, gone}, f"After a merge `fetch` found {sorted(fetched)} of the old ids {[into, gone]}.")
    [left, *others] = {record.id for record in fetched.values()}
    expect(not others, f"Two merged records were fetched as {[left, *others]}: one is left.")
    pulls = {record.id: record for record in records(lab)}
    old = {into, gone} - {left}
    expect(left in pulls, "The record that a merge left was not pulled.")
    expect(not old & set(pulls), f"Ids were pulled that a merge did away with: {sorted(old & set(pulls))}.")
    unnamed = sorted(old - set(pulls[left].merged))
    expect(not unnamed, f"The record that a merge left does not name {unnamed} in `merged`.")


@check("history", *BOTH)
def history(lab: Lab) -> None:
    """`history` gives a property's values, the newest first, each with the moment from which it was there, alike by `fetch`."""
    declared(lab.object_type.pull_history, "`pull_history`")
    name = lab.telling()
    first, second = lab.changes(2)
    remote_id = lab.written(first)
    lab.server.settle(APART)
    lab.written(Change(second.local_key, Op.UPDATE, remote_id, properties={name: second.properties[name]}))
    lab.settle()
    told = {record.id: record.history.get(name, ()) for record in records(lab, history=(name,))}.get(remote_id, ())
    wanted = [second.properties[name], first.properties[name]]
    got = [past.value for past in told]
    expect(got == wanted, f"`{name}` was {wanted[1]!r} and then {wanted[0]!r}, but the history gave {got}.")
    fetched = lab.fetch([remote_id], [name], history=(name,))[remote_id].history.get(name, ())
    expect(fetched == told, f"The history of `{name}` came as {told} by `pull`, but as {fetched} by `fetch`.")
    moments = [past.at for past in told]
    expect(all(moment.tzinfo for moment in moments), f"Moments in the history of `{name}` have no time zone: {moments}.")
    expect(moments[0] > moments[1], f"The newest value of `{name}` must come first, with the latest moment: {moments}.")
