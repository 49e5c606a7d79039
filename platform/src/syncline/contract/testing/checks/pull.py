"""Pulls of everything: pages, positions, and what happens between two pages."""

from __future__ import annotations

from functools import partial

from syncline.contract import Capability, Op, PullRequest, Retryable

from ..check import Breach, attempt, check, declared, expect, told
from ..lab import Lab
from ..listing import filled, pulled, records
from ..proxy import Fault

PULLS = (Capability.DISCOVER, Capability.PULL)


@check("pull-resume", *PULLS)
def pull_resume(lab: Lab) -> None:
    """A pull over three pages, stopped after the second and resumed elsewhere from its position, loses and repeats nothing."""
    whole = filled(lab)
    expect(len(set(whole)) == len(whole), "One pull gave a record twice.")
    first = pulled(lab)
    begun = [next(first), next(first)]
    position = begun[-1].position
    expect(position and isinstance(position, str), f"The second of three pages has no position to resume from: {position!r}.")
    call, session = lab.elsewhere()
    request = PullRequest(tuple(lab.target.record(0)), position)
    rest = attempt(lambda: list(call.pull(session=session, object_type=lab.object_type, request=request)))
    if isinstance(rest, Exception):
        raise Breach(f"Resumed after page two by another process, the pull ended in {told(rest)}.")
    resumed = [record.id for page in (*begun, *rest) for record in page.records]
    lost, again = set(whole) - set(resumed), len(resumed) - len(set(resumed))
    expect(not lost and not again, f"Resumed after page two, the pull lost {len(lost)} records and repeated {again}.")


@check("pull-lazy", *PULLS)
def pull_lazy(lab: Lab) -> None:
    """`pull` gives its first page before it asks for the last one: memory stays constant, and a stop is cheap."""
    filled(lab)
    lab.proxy.seen.clear()
    pages = pulled(lab)
    next(pages)
    before = len(lab.proxy.seen)
    remaining = sum(1 for _ in pages)
    expect(len(lab.proxy.seen) > before, f"All {remaining + 1} pages were read before the first one was given.")


@check("pull-empty-page", *PULLS)
def pull_empty_page(lab: Lab) -> None:
    """A page in mid-listing that comes empty once is asked for again, or is Retryable: it is not taken for the end."""
    expect(lab.target.empty_pages, "The target has no `empty_pages`: say what a listing page without records looks like.")
    whole = set(filled(lab))
    for empty in lab.target.empty_pages:
        got = attempt(partial(_emptied, lab, Fault(edit=empty, once=True)))
        if isinstance(got, Exception):
            expect(isinstance(got, Retryable), f"After an empty page `pull` raised {told(got)} instead of Retryable.")
        else:
            lost = len(whole - got)
            expect(not lost, f"The second page came empty once, and the pull ended without {lost} of {len(whole)} records.")


def _emptied(lab: Lab, fault: Fault) -> set[str]:
    pages = pulled(lab)
    begun = next(pages)
    with lab.proxy.playing(fault):
        return {record.id for page in (begun, *pages) for record in page.records}


@check("pull-changing", *PULLS, Capability.PUSH)
def pull_changing(lab: Lab) -> None:
    """Records changed or taken away between two pages move no others: what was there all the time comes, and comes once."""
    whole = filled(lab)
    pages = pulled(lab)
    came = [record.id for record in next(pages).records]
    lab.renewed([came[-1], whole[-1]])
    op = next((op for op in (Op.ARCHIVE, Op.DELETE) if op in lab.object_type.batch_sizes), None)
    gone = came[:1] if op else []
    if op:
        lab.removed(gone, op)
    lab.settle()
    came += [record.id for page in pages for record in page.records]
    lost = sorted(set(whole) - set(came) - set(gone))
    expect(not lost, f"Records changed between two pages, and these were never given: {lost}.")
    again = sorted({one for one in came if came.count(one) > 1})
    expect(not again, f"Records changed between two pages, and these were given twice: {again}.")


@check("pull-archived", *PULLS, Capability.PUSH)
def pull_archived(lab: Lab) -> None:
    """`archived` gives archived records, says that they are, and gives no others; without it none of them comes."""
    declared(lab.object_type.pull_archived, "`pull_archived`")
    expect(
        Op.ARCHIVE in lab.object_type.batch_sizes, "The object offers no archive to try `pull_archived` with: say so in `skip`."
    )
    [gone, there] = lab.created(2)
    lab.removed([gone], Op.ARCHIVE)
    lab.settle()
    archived, plain = records(lab, archived=True), records(lab)
    expect(gone in {r.id for r in archived}, "A record that was archived is not among the archived ones.")
    expect(there not in {r.id for r in archived}, "A record that is there came among the archived ones.")
    expect(gone not in {r.id for r in plain}, "A record that was archived came among those that are there.")
    wrong = [r.id for r in archived if not r.archived] + [r.id for r in plain if r.archived]
    expect(not wrong, f"Of these records `archived` says the opposite: {wrong[:5]}.")
