"""Logs: messages that are written once, kept in order, and read on and on."""

from __future__ import annotations

import datetime as dt
import itertools
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

from syncline.contract import (
    Capability,
    Change,
    Message,
    Op,
    Page,
    PullRequest,
    RemoteRecord,
    Session,
    Status,
    Value,
)

from ..check import Breach, check, expect
from ..following import Followed
from ..lab import Lab

LOGS = (Capability.DISCOVER, Capability.PARTITIONS, Capability.PULL, Capability.PUSH)
ARRIVES_S = 10.0
AT = dt.datetime(2026, 2, 28, 23, 59, 59, 123000, dt.UTC)


class Log:
    """The target's log: what is sent there is known by ids that no other run of the suite has given."""

    def __init__(self, lab: Lab) -> None:
        if lab.target.log is None:
            raise Breach("The target has no `log`: give an object that is a log, and the values of its n-th message.")
        key, self.values = lab.target.log
        offered = {one.key: one for one in lab.call.discover(session=lab.session())}
        if key not in offered or not offered[key].log:
            raise Breach(f"The target's `log` is {key!r}, but no object of this key says that it is a log: {sorted(offered)}.")
        self.lab, self.object_type = lab, offered[key]
        self.names = tuple(self.values(0))
        self._numbers = itertools.count(1)

    def message(self, key: str | None, values: Mapping[str, Value] | None = None) -> Change:
        number, name = next(self._numbers), uuid.uuid4().hex
        told = Message(
            name, key, number, "conformance", "/conformance", AT + dt.timedelta(seconds=number), {"x-number": str(number)}
        )
        return Change(name, Op.CREATE, properties=self.values(number) if values is None else values, message=told)

    def send(self, *changes: Change) -> dict[str, str]:
        """Local key → place."""
        places, size = dict[str, str](), self.object_type.batch_sizes.get(Op.CREATE, 1)
        for start in range(0, len(changes), size):
            batch = changes[start : start + size]
            results = self.lab.call.push(session=self.lab.session(), object_type=self.object_type, changes=batch)
            bad = [result for result in results if result.status is not Status.CREATED or not result.remote_id]
            expect(not bad and len(results) == len(batch), f"{len(batch)} good messages were pushed, and became {list(results)}.")
            places |= {result.local_key: result.remote_id or "" for result in results}
        return places

    def partitions(self) -> Sequence[str]:
        named = self.lab.call.partitions(session=self.lab.session(), object_type=self.object_type)
        expect(named and len(set(named)) == len(named), f"`partitions` of a log gave {list(named)}.")
        return named

    def pull(self, partition: str, at: tuple[Any, Session] | None = None, **asked: Any) -> Iterator[Page]:
        call, session = at or (self.lab.call, self.lab.session())
        request = PullRequest(self.names, partition=partition, **asked)
        return iter(call.pull(session=session, object_type=self.object_type, request=request))

    def followed(self, partition: str, position: str | None = None) -> Followed:
        return Followed(lambda: self.pull(partition, position=position, follow=True))

    def ends(self) -> dict[str, str]:
        """The position behind all there is, of each partition."""
        return {partition: self._end(partition) for partition in self.partitions()}

    def _end(self, partition: str) -> str:
        with closing(self.followed(partition)) as followed:
            while followed.page().records:
                pass
            return followed.position

    def since(self, ends: Mapping[str, str], at: tuple[Any, Session] | None = None) -> list[RemoteRecord]:
        """What stands behind these positions, partition by partition."""
        found = [self.pull(partition, at, position=position) for partition, position in ends.items()]
        return [record for pages in found for page in pages for record in page.records]


@check("log-round-trip", *LOGS)
def log_round_trip(lab: Lab) -> None:
    """Messages come back from the places that `push` told, with all they had, and those of one key in their order."""
    log = Log(lab)
    ends = log.ends()
    sent = [log.message(f"key{n % 3}") for n in range(9)]
    places = log.send(*sent)
    came = {record.id: record for record in log.since(ends)}
    for change in sent:
        record = came.get(places[change.local_key])
        if record is None:
            raise Breach(f"Nothing stands at {places[change.local_key]}, the place that `push` told. There are {sorted(came)}.")
        expect(_same(change, record), f"Sent as {change.properties} with {change.message}, it came as {record}.")
    order = [(record.message.key, record.message.sequence or 0) for record in came.values() if record.message]
    expect(all(_ordered(order, key) for key in {key for key, _ in order}), f"Messages of one key came in another order: {order}.")


def _same(change: Change, record: RemoteRecord) -> bool:
    sent, came = change.message, record.message
    if sent is None or came is None or dict(record.properties) != dict(change.properties) or record.archived:
        return False
    alike = all(getattr(sent, name) == getattr(came, name) for name in ("id", "key", "sequence", "type", "source", "at"))
    return alike and sent.headers.items() <= came.headers.items() and bool(came.body) and not came.problem


def _ordered(order: Sequence[tuple[str | None, int]], key: str | None) -> bool:
    numbers = [number for other, number in order if other == key]
    return numbers == sorted(numbers)


@check("log-resume", *LOGS)
def log_resume(lab: Lab) -> None:
    """The position behind a page leads on to exactly what comes next, in any process, and a pull without `follow` ends there."""
    log = Log(lab)
    log.send(*(log.message(f"key{n}") for n in range(4)))
    ends = log.ends()
    places = log.send(*(log.message(f"key{n % 5}") for n in range(10)))
    came = [record.id for record in log.since(ends, lab.elsewhere())]
    expect(sorted(came) == sorted(places.values()), f"Behind {ends} stand {sorted(places.values())}, but {sorted(came)} came.")
    left = log.since(log.ends())
    expect(not left, f"Behind the end of the log came {[record.id for record in left]}.")


@check("log-follow", *LOGS)
def log_follow(lab: Lab) -> None:
    """Followed, a silent log gives a page at least every 5 s (7 at most), and a message that comes meanwhile soon."""
    log = Log(lab)
    ends = log.ends()
    with ExitStack() as opened:
        following = [opened.enter_context(closing(log.followed(*end))) for end in ends.items()]
        for one in following:
            one.page()
        [place] = log.send(log.message("key")).values()
        until = time.monotonic() + ARRIVES_S
        while place not in {record.id for one in following for record in one.page().records}:
            expect(time.monotonic() < until, f"A message was written, but did not come within {ARRIVES_S:.0f} seconds.")


@check("log-odd-messages", *LOGS)
def log_odd_messages(lab: Lab) -> None:
    """A message without values comes archived, with its key; one without a key comes without one."""
    log = Log(lab)
    ends = log.ends()
    gone, keyless = log.message("key", dict.fromkeys(log.names)), log.message(None)
    places = log.send(gone, keyless)
    came = {record.id: record for record in log.since(ends)}
    one, other = (came.get(places[change.local_key]) for change in (gone, keyless))
    expect(one and one.archived and one.message and one.message.key == "key", f"A message without values came as {one}.")
    expect(
        other and not other.archived and other.message and other.message.key is None, f"A message without a key came as {other}."
    )
