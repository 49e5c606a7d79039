"""Pulls of what changed: from a moment on, up to a moment, and all at one moment."""

from __future__ import annotations

import datetime as dt

from syncline.contract import Capability, Change, Op, PullRequest

from ..check import Breach, attempt, check, declared, expect, told
from ..lab import Lab
from ..listing import APART, PAGES, TICK, later, pulled, records

SINCE = (Capability.DISCOVER, Capability.PULL, Capability.PUSH)


@check("pull-since", *SINCE)
def pull_since(lab: Lab) -> None:
    """Asked for what changed since a moment, `pull` gives what is new and what was changed, and not what nobody touched."""
    declared(lab.object_type.pull_since, "`pull_since`")
    name = lab.telling()
    [changed, *untouched] = lab.created(3)
    lab.settle()
    since = later(lab)
    before = {record.id for record in records(lab)}
    expect({changed, *untouched} <= before, "Records written before are missing in a pull of everything.")
    [change] = lab.changes(1)
    lab.written(Change(change.local_key, Op.UPDATE, changed, properties={name: change.properties[name]}))
    [made] = lab.created()
    lab.settle()
    found = {record.id: record for record in records(lab, since=since)}
    missing = [what for one, what in ((changed, "changed"), (made, "created")) if one not in found]
    expect(not missing, f"A record that was {' and one that was '.join(missing)} since the moment is missing.")
    now = found[changed].properties.get(name)
    expect(now == change.properties[name], f"The changed record came with its old value of `{name}`: {now!r}.")
    again = sorted(set(untouched) & set(found))
    expect(not again, f"Records that were not touched since came all the same: {again}. That is a listing, not what changed.")


@check("modified-at", *SINCE)
def modified_at(lab: Lab) -> None:
    """Where `pull_since` is declared, each record says when it was changed: with a time zone, and later after a change."""
    declared(lab.object_type.pull_since, "`pull_since`")
    [one] = lab.created()
    lab.settle()
    before = {record.id: record.modified_at for record in records(lab)}
    lab.server.settle(APART)
    lab.renewed([one])
    lab.settle()
    after = {record.id: record.modified_at for record in records(lab)}
    silent = sorted(key for key, moment in (before | after).items() if not isinstance(moment, dt.datetime) or not moment.tzinfo)
    expect(not silent, f"These records have no `modified_at` with a time zone: {silent[:5]}.")
    was, now = before.get(one), after.get(one)
    expect(was and now and now > was, f"A record says that it was changed at {was}, and after one more change at {now}.")


@check("pull-moment", *SINCE)
def pull_moment(lab: Lab) -> None:
    """All records changed at one moment come, over however many pages, also when `since` and `until` are that very moment."""
    declared(lab.object_type.pull_since, "`pull_since`")
    touch = lab.server.touch
    if touch is None:
        raise Breach("The server has no `touch`: say how many records are changed at one moment.")
    ids = set(lab.filled((PAGES - 1) * lab.object_type.page_size + 1))
    since = later(lab)
    touch(sorted(ids))
    lab.settle()
    found = [record for record in records(lab, since=since) if record.id in ids]
    missing = len(ids - {record.id for record in found})
    expect(not missing, f"Of {len(ids)} records changed at one moment, {missing} did not come.")
    [moment, *others] = {record.modified_at for record in found}
    expect(not others, f"`touch` of the server changed records at {len(others) + 1} moments.")
    exact = {record.id for record in records(lab, since=moment, until=moment)}
    missing = len(ids - exact)
    expect(not missing, f"With `since` and `until` at the moment of {len(ids)} changes, {missing} of them did not come.")


@check("pull-until", *SINCE)
def pull_until(lab: Lab) -> None:
    """With `until`, a pull ends although records go on changing, and the pull from there on has all it left out."""
    declared(lab.object_type.pull_since, "`pull_since`")
    since = later(lab)
    ids = set(lab.filled((PAGES - 1) * lab.object_type.page_size + 1))
    lab.settle()
    until = later(lab)
    quiet = {record.id for record in records(lab, since=since, until=until)}
    expect(ids <= quiet, f"Of {len(ids)} records changed before `until`, {len(ids - quiet)} did not come.")
    came = _chased(lab, since, until)
    lab.settle()
    following = {record.id for record in records(lab, since=until)}
    lost = len(ids - came - following) + len(came - following)
    expect(not lost, f"{lost} of {len(ids)} records came neither up to `until` nor, changed again, with the pull from there on.")


def _chased(lab: Lab, since: dt.datetime, until: dt.datetime) -> set[str]:
    """Changes what each page gave before the next one is asked for; gives what came."""
    came: set[str] = set()
    for number, page in enumerate(pulled(lab, since=since, until=until)):
        expect(
            number < 3 * PAGES,
            f"Each page's records were changed again, and after {number} pages `until` has not ended the pull.",
        )
        came |= {record.id for record in page.records}
        lab.renewed([record.id for record in page.records])
        lab.server.settle(lab.object_type.visibility_lag + TICK.total_seconds())
    return came


@check("since-resume", *SINCE)
def since_resume(lab: Lab) -> None:
    """A pull of what changed, stopped after its first page and resumed elsewhere from its position, loses nothing."""
    declared(lab.object_type.pull_since, "`pull_since`")
    since = later(lab)
    ids = set(lab.filled((PAGES - 1) * lab.object_type.page_size + 1))
    lab.settle()
    first = next(pulled(lab, since=since))
    expect(first.position, "Of three pages of what changed, the first has no position to resume from.")
    call, session = lab.elsewhere()
    request = PullRequest(tuple(lab.target.record(0)), first.position, since=since)
    rest = attempt(lambda: list(call.pull(session=session, object_type=lab.object_type, request=request)))
    if isinstance(rest, Exception):
        raise Breach(f"Resumed after its first page by another process, a pull of what changed ended in {told(rest)}.")
    lost = ids - {record.id for page in (first, *rest) for record in page.records}
    expect(not lost, f"Resumed after its first page, a pull of what changed lost {len(lost)} of {len(ids)} records.")


@check("archived-since", *SINCE)
def archived_since(lab: Lab) -> None:
    """`archived` with `since` gives what was archived since then, however long ago it was changed."""
    declared(lab.object_type.pull_archived and lab.object_type.pull_since, "`pull_archived` with `pull_since`")
    expect(
        Op.ARCHIVE in lab.object_type.batch_sizes, "The object offers no archive to try `pull_archived` with: say so in `skip`."
    )
    [gone] = lab.created()
    lab.settle()
    since = later(lab)
    lab.removed([gone], Op.ARCHIVE)
    lab.settle()
    found = {record.id for record in records(lab, archived=True, since=since)}
    expect(gone in found, "A record that was changed before `since` and archived after it is not among the archived ones.")
