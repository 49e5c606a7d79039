"""Reading: pages, positions, records as declared."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from syncline.contract import Capability, Change, MatchStep, ObjectType, Op, Page, PullRequest, RemoteRecord
from syncline.contract.normalise import NORMALISERS

from ..canonical import problem
from ..check import check, expect
from ..lab import Lab, over

PULLS = (Capability.DISCOVER, Capability.PULL)
PAGES = 3
APART = 0.01
"""Seconds between the moment asked for and what changes after it; five times the lag, where the system has one."""


@check("pull-resume", *PULLS)
def pull_resume(lab: Lab) -> None:
    """A pull over three pages, stopped after the second and resumed from its position, loses and repeats nothing."""
    _fill(lab)
    whole = [record.id for page in _pull(lab) for record in page.records]
    expect(len(set(whole)) == len(whole), "One pull gave a record twice.")
    first = _pull(lab)
    begun = [next(first), next(first)]
    position = begun[-1].position
    expect(position, "The second of three pages has no position to resume from.")
    resumed = [record.id for page in (*begun, *_pull(lab, position)) for record in page.records]
    lost, again = set(whole) - set(resumed), len(resumed) - len(set(resumed))
    expect(not lost and not again, f"Resumed after page two, the pull lost {len(lost)} records and repeated {again}.")


@check("pull-lazy", *PULLS)
def pull_lazy(lab: Lab) -> None:
    """`pull` gives its first page before it asks for the last one: memory stays constant, and a stop is cheap."""
    _fill(lab)
    lab.proxy.seen.clear()
    pages = _pull(lab)
    next(pages)
    before = len(lab.proxy.seen)
    remaining = sum(1 for _ in pages)
    expect(len(lab.proxy.seen) > before, f"All {remaining + 1} pages were read before the first one was given.")


@check("pull-since", *PULLS, Capability.PUSH)
def pull_since(lab: Lab) -> None:
    """Asked for what changed since a moment, `pull` gives what is new and what was changed, and not what nobody touched."""
    if not lab.object_type.pull_since:
        return
    name = lab.telling()
    [changed, *untouched] = lab.created(3)
    lab.settle()
    since = _after_all(lab)
    lab.server.settle(max(APART, 5 * lab.object_type.visibility_lag))
    [change] = lab.changes(1)
    lab.written(Change(change.local_key, Op.UPDATE, changed, properties={name: change.properties[name]}))
    [made] = lab.created()
    lab.settle()
    found = {record.id: record for page in _pull(lab, since=since) for record in page.records}
    missing = [what for one, what in ((changed, "changed"), (made, "created")) if one not in found]
    expect(not missing, f"A record that was {' and one that was '.join(missing)} since the moment is missing.")
    now = found[changed].properties.get(name)
    expect(now == change.properties[name], f"The changed record came with its old value of `{name}`: {now!r}.")
    again = sorted(set(untouched) & set(found))
    expect(not again, f"Records that were not touched since came all the same: {again}. That is a listing, not what changed.")


def _after_all(lab: Lab) -> dt.datetime:
    """A moment after every change so far, by the system's clock."""
    moments = [record.modified_at for page in _pull(lab) for record in page.records]
    known = [moment for moment in moments if moment]
    expect(moments and len(known) == len(moments), "Of an object with `pull_since`, every record needs its `modified_at`.")
    return max(known) + dt.timedelta(milliseconds=1)


@check("records-fit", *PULLS)
def records_fit(lab: Lab) -> None:
    """Every record pulled has an id and the properties asked for, canonical and valid for the declared schema."""
    names = tuple(lab.target.record(0))
    if Capability.PUSH in lab.able:
        lab.created()
        lab.settle()
    records = [record for page in _pull(lab, properties=names) for record in page.records]
    expect(records, "`pull` gave no record: what was just written is missing, or the server is empty.")
    for record in records:
        _fits(record, lab.object_type)
    read = {name for record in records for name, value in record.properties.items() if value is not None}
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
    found = lab.call.fetch(session=lab.session(), object_type=lab.object_type, ids=ids, properties=names, associations=())
    expect(set(found) == {there}, f"Asked for one record that is there and one that is gone, `fetch` gave {sorted(found)}.")


def _fill(lab: Lab) -> None:
    """Enough records for three pages: what is there already counts."""
    lab.object_type  # noqa: B018 - properties are created before anything is listed
    there = sum(len(page.records) for page in _pull(lab))
    wanted = (PAGES - 1) * lab.object_type.page_size + 1
    if there < wanted and Capability.PUSH in lab.able:
        lab.filled(wanted - there)
        lab.settle()
    pages = sum(1 for _ in _pull(lab))
    expect(pages >= PAGES, f"The server holds {pages} pages, {PAGES} are needed: fill it, or correct the declared `page_size`.")


def _pull(
    lab: Lab, position: str | None = None, properties: tuple[str, ...] = (), since: dt.datetime | None = None
) -> Iterator[Page]:
    request = PullRequest(properties=properties or tuple(lab.target.record(0)), position=position, since=since)
    return iter(lab.call.pull(session=lab.session(), object_type=lab.object_type, request=request))
