"""One lot of remote records becomes rows of ours: mapped, matched, written and noted in the ledger, in one transaction.

Turns are taken first, then links are locked and rows of ours next, all in order, so that nobody changes either between the look
and the write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from syncline.contract import Code, LocalChange, Op, RemoteRecord, Status, Written
from syncline.ledger import pull_writer, writer
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival
from syncline.ledger.records import Problem
from syncline.runs import crash
from syncline.runs.push import index_rows
from syncline.syncs.engine import Mode
from syncline.syncs.engine.threeway import UNKNOWN, moments

from . import creating, deciding, gone, known, local, noting, references, settling
from .creating import New
from .finding import NEW
from .ground import Ground
from .work import Arrived, Known, Landed, Later, Place, Quiet, Refused, Verdict

Cursor = CursorWrapper
Also = Callable[[CursorWrapper], None]


@dataclass
class Sorted:
    """A lot by what is to be done."""

    quiet: list[Quiet] = field(default_factory=list)
    arrived: list[Arrived] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)

    def take(self, verdict: Verdict) -> None:
        for kind, those in ((Quiet, self.quiet), (Arrived, self.arrived), (Refused, self.refused), (Later, self.later)):
            if isinstance(verdict, kind):
                those.append(verdict)  # type: ignore[arg-type]
                return


def land(
    ground: Ground,
    records: Sequence[RemoteRecord],
    also: Also = lambda _cursor: None,
    *,
    age: Callable[[], float],
    lag: float = 0.0,
    nameless: int = 0,
    refused: Sequence[Refused] = (),
    counted: bool = True,
    approved: bool = False,
) -> Counter[str]:
    """`also`: what else belongs into the transaction. `age`: seconds since the records were asked for; `lag`: how much older what
    the system shows may be. `counted`: as read. `nameless`: records that came without an id; `refused`: those that did not come.

    `approved`: a person lets what is gone there be deleted here. Gives what was counted.
    """
    crash.point("pull.before")
    with transaction.atomic(), connection.cursor() as cursor:
        writer.hold(cursor, ground.job.claim.fence, "FOR NO KEY UPDATE")
        counts = _land(cursor, ground, records, (age, lag), approved)
        counts["read"] = len(records) + nameless if counted else 0
        counts["rejected"] += noting.nameless(ground, nameless) + len(refused)
        noting.problems(cursor, ground, refused, ())
        also(cursor)
        writer.advance(cursor, ground.job.claim.fence, counts)
    ground.flow.glances.forget(records)
    crash.point("pull.after")
    return counts


def _land(
    cursor: Cursor, ground: Ground, records: Sequence[RemoteRecord], old: tuple[Callable[[], float], float], approved: bool
) -> Counter[str]:
    flow, (age, lag) = ground.flow, old
    there = [record for record in records if not record.archived]
    new = creating.begin(cursor, ground, there)
    found = known.locked(cursor, flow.scope, [r.id for r in records] + [id_ for r in records for id_ in r.merged], age(), lag)
    joined = known.merged(records, found)
    pull_writer.forget_problems(cursor, flow.sync_id, [*(r.id for r in records if r.archived), *_merged(records)])
    pull_writer.repoint(cursor, joined.survivors)
    noting.lost(cursor, ground, joined.lost)
    index_rows.store(flow.scope, flow.glances.identities(records))
    if not flow.whole:  # at the end of a listing all is forgotten that was not in it
        index_rows.outlive(flow.scope, ground.spec, [*(r.id for r in records), *_merged(records)], age() + lag)
    counts = Counter(gone=len(joined.lost))
    counts.update(_taken_away(cursor, ground, records, joined.known, approved))
    lot = _sorted(ground, there, joined.known, new)
    landed, refused = _written(ground, lot)
    counts.update(_counted(lot, landed, refused))
    links = _store(cursor, ground, landed)
    noting.problems(cursor, ground, refused, _waiting(landed))
    settled = [one.record.id for one in lot.quiet] + [one.arrived.record.id for one in landed if not one.arrived.waits]
    pull_writer.forget_problems(cursor, flow.sync_id, settled)
    noting.overlaps(cursor, ground, landed, links)
    noting.later(cursor, ground, lot.later)
    return counts


def _merged(records: Iterable[RemoteRecord]) -> list[str]:
    return [id_ for record in records for id_ in record.merged if id_ != record.id]


def _taken_away(
    cursor: Cursor, ground: Ground, records: Sequence[RemoteRecord], found: Mapping[str, Known], approved: bool
) -> dict[str, int]:
    lost = [found[record.id] for record in records if record.archived and record.id in found]
    return gone.take_away(cursor, ground.job, ground.flow, ground.writer, lost, approved=approved)


# sorting


def _sorted(ground: Ground, records: Sequence[RemoteRecord], found: Mapping[str, Known], new: New) -> Sorted:
    lot = Sorted()
    changed: list[tuple[RemoteRecord, Known | None, Any]] = []
    for record in records:
        verdict, mapped = _first_look(ground, record, found.get(record.id))
        if record.id not in found and record.id not in new.ids:  # its link was taken away since the turns were
            verdict = Later(record)
        if verdict is not None:
            lot.take(verdict)
        else:
            changed.append((record, found.get(record.id), mapped))
    places = ground.finder.places([record for record, link, _ in changed if link is None]) if changed else {}
    places = _as_decided(ground, places)
    doubts = new.creations.doubts([record for record, _, _ in changed if _is_made(ground, places.get(record.id))])
    rows = _rows(ground, [key for record, link, _ in changed if (key := _local_key(record, link, places))])
    linked = references.linked(
        ground.flow.scope, ground.flow.inbound.references, [r for r, _, _ in changed], {k: o.values for k, o in rows.items()}
    )
    for record, link, mapped in changed:
        lot.take(doubts.get(record.id) or _second_look(ground, record, link, mapped, places, rows, linked))
    return lot


def _first_look(ground: Ground, record: RemoteRecord, link: Known | None) -> tuple[Verdict | None, Any]:
    flow = ground.flow
    if link is not None:
        if link.dataset != flow.scope.dataset:
            said = f"It is linked to {link.dataset} {link.local_key} already."
            problem = Problem("linked_to_other", f"{said} Unlink it there to take it in here.", group="other_dataset")
            return Refused(record, Link.State.AMBIGUOUS, problem, "ambiguous", link, deciding.brief(flow, record)), None
        if link.state == Link.State.UNCERTAIN:  # a write of ours is on its way to it, or nobody knows
            return Later(record, noting.PAUSE), None
        if deciding.is_quiet(flow, record, link):
            return Quiet(record, link), None
        if link.outdates(record):  # it would undo what was written or taken in since
            return Later(record, noting.PAUSE), None
    mapped = flow.glances.mapped(record)
    return deciding.refused(flow, record, link, mapped), mapped


def _is_made(ground: Ground, place: Place | None) -> bool:
    return place == NEW and ground.flow.mode != Mode.UPDATE


def _as_decided(ground: Ground, places: dict[str, Place]) -> dict[str, Place]:
    """A person said of some of these that they are records of their own."""
    doubtful = [id_ for id_, place in places.items() if place.problem]
    if doubtful:
        own = Arrival.objects.filter(sync_id=ground.flow.sync_id, remote_id__in=doubtful, create=True)
        places = {**places, **{id_: Place() for id_ in own.values_list("remote_id", flat=True)}}
    return places


def _local_key(record: RemoteRecord, link: Known | None, places: Mapping[str, Place]) -> str | None:
    return link.local_key if link else places[record.id].local_key


def _rows(ground: Ground, keys: Sequence[str]) -> dict[str, local.Ours]:
    flow = ground.flow
    more = [rule.field for rule in flow.inbound.references] + [rule.field for rule in flow.inbound.rules if rule.only_empty]
    modified = ground.dataset.info.modified if any(o == "newest" for o in flow.shared.values()) else ""
    return local.locked(ground.job.source, keys, more, modified)


def _second_look(
    ground: Ground,
    record: RemoteRecord,
    link: Known | None,
    mapped: Any,
    places: Mapping[str, Place],
    rows: Mapping[str, local.Ours],
    linked: references.Linked,
) -> Verdict:
    flow = ground.flow
    place = Place(link.local_key) if link else places[record.id]
    if link is None and (no := deciding.unplaced(flow, record, place)):
        return no
    if place.later:
        return Later(record)
    ours = rows.get(place.local_key or "")
    if place.local_key and ours is None:
        problem = Problem("gone_here", f"Our record {place.local_key} is not here any more. Unlink it to take this one in anew.")
        return Refused(record, Link.State.EXCLUDED, problem, "excluded", link, deciding.brief(flow, record))
    refs = references.referred(flow.inbound.references, record, link, ours.values if ours else None, linked)
    if refs.lacking and refs.missing and place.local_key is None:
        state = Link.State.WAITING if refs.missing.code == "waiting" else Link.State.REJECTED
        counter = "waiting" if state == Link.State.WAITING else "rejected"
        return Refused(record, state, refs.missing, counter, link, deciding.brief(flow, record))
    changed = moments(record, ours.modified) if ours else UNKNOWN
    return deciding.arrived(flow, record, link, place.local_key, mapped, refs, ours.values if ours else None, changed)


# writing


def _written(ground: Ground, lot: Sorted) -> tuple[list[Landed], list[Refused]]:
    changes = [LocalChange(a.record.id, a.op, a.local_key, a.values) for a in lot.arrived if a.op is not None]
    answers = ground.writer.write(changes, _taken(ground, lot.arrived))
    landed: list[Landed] = []
    refused = list(lot.refused)
    for one in lot.arrived:
        answer = answers.get(one.record.id)
        if answer is not None and (answer.status is Status.REJECTED or not (answer.local_key or one.local_key)):
            refused.append(_refusal(ground, one, answer))
        else:
            landed.append(_landed(one, answer))
    return landed, refused


def _taken(ground: Ground, arrived: Sequence[Arrived]) -> Callable[[Sequence[str]], dict[str, str]]:
    """Which of these records of ours are linked to a remote record, and to which."""
    scope = ground.flow.scope
    now = {one.local_key: one.record.id for one in arrived if one.local_key}

    def taken(keys: Sequence[str]) -> dict[str, str]:
        found = Link.objects.filter(
            connection_id=scope.connection_id, object_type=scope.object_type, dataset=scope.dataset, local_key__in=list(keys)
        )
        live = found.filter(remote_id__isnull=False).exclude(state=Link.State.GONE)
        return {**{key: str(id_) for key, id_ in live.values_list("local_key", "remote_id")}, **now}

    return taken


def _refusal(ground: Ground, one: Arrived, answer: Written) -> Refused:
    error = answer.error
    code, said, name = (error.code, error.message, error.property or "") if error else (Code.OTHER, "Our app refused it.", "")
    state, counter = (Link.State.AMBIGUOUS, "ambiguous") if code is Code.CONFLICT else (Link.State.REJECTED, "rejected")
    problem = Problem(code.value, said, property=name, group=f"{name} {code.value}")
    return Refused(one.record, state, problem, counter, one.known, deciding.brief(ground.flow, one.record))


def _landed(one: Arrived, answer: Written | None) -> Landed:
    status = answer.status if answer else Status.UNCHANGED
    key = (answer.local_key if answer else None) or one.local_key or ""
    if one.op is Op.CREATE:
        return Landed(one, status, key, "created" if status is Status.CREATED else "adopted")
    if one.known is None:
        return Landed(one, status, key, "adopted")
    return Landed(one, status, key, "updated" if status is Status.UPDATED else "unchanged")


def _counted(lot: Sorted, landed: Sequence[Landed], refused: Sequence[Refused]) -> Counter[str]:
    counts = Counter(one.counter for one in landed)
    counts.update(one.counter for one in refused)
    counts["unchanged"] += len(lot.quiet)
    counts["conflicts"] += sum(len(one.arrived.clashes) for one in landed)
    counts["waiting"] += sum(one.arrived.waits is not None for one in landed)
    return counts


def _waiting(landed: Sequence[Landed]) -> list[Refused]:
    """Taken in, but for a part that has to come later."""
    return [
        Refused(one.arrived.record, Link.State.WAITING, one.arrived.waits, "", one.arrived.known)
        for one in landed
        if one.arrived.waits
    ]


def _store(cursor: Cursor, ground: Ground, landed: Sequence[Landed]) -> dict[str, int]:
    prints = settling.prints(ground, landed)
    links = [settling.link(one, prints.get(one.local_key)) for one in landed]
    return pull_writer.store_links(cursor, ground.flow.scope, ground.flow.run_id, links)
