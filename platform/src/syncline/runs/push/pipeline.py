"""Moves one part of a run: read, map, match, batch, send from several threads, record, advance the cursor."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from django.db import connection, connections, transaction

from syncline.contract import Op
from syncline.ledger import writer
from syncline.ledger.records import Fence, Outcome
from syncline.runs import crash

from .batches import Batches
from .reader import Chunk, Row
from .work import Deferred, Policy, Sent, Verdict, Work

QUIET = {
    "delivered": "unchanged",
    "rejected": "rejected",
    "ambiguous": "ambiguous",
    "excluded": "excluded",
    "gone": "gone",
    "merged": "gone",
}


@dataclass
class _Open:
    """A chunk that was read: records still on their way, and what counts once all have arrived."""

    last: str
    left: int
    counts: Counter[str]


class Carrier(Protocol):
    """What a batch is handed to. A push has a sender; a plan only looks at what is there."""

    def send(self, batch: Sequence[Work]) -> Sent: ...


@dataclass
class Pipeline:
    """One part, one process. Not thread-safe itself: only `Carrier.send` runs in the pool's threads.

    `decide` says of rows what they need. `settle` stores what needs no call and gives the keys that were stored.
    `put_off` gets the records to be looked at again later, in the transaction that moves the cursor past them.
    `counts_quiet`: not where another part of the run counts the records that need nothing.
    """

    policy: Policy
    fence: Fence
    sender: Carrier
    decide: Callable[[Sequence[Row]], Iterable[Verdict]]
    settle: Callable[[Sequence[Outcome]], Collection[str]]
    threads: int = 4
    stop: Callable[[], bool] = lambda: False
    put_off: Callable[[Sequence[Deferred]], None] = lambda _deferred: None
    counts_read: bool = True
    counts_quiet: bool = True
    deferred: list[Deferred] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._batches = Batches(self.policy.object_type, self.policy.share)
        self._chunks: deque[_Open] = deque()
        self._where: dict[str, _Open] = {}
        self._flying: dict[Future[Sent], list[Work]] = {}

    def run(self, chunks: Iterable[Chunk]) -> bool:
        """True when everything was read; False when it was told to stop first (the cursor says how far it came)."""
        with ThreadPoolExecutor(self.threads, thread_name_prefix="send") as pool:
            try:
                return self._run(pool, chunks)
            finally:
                for future in self._flying:
                    future.cancel()
                _close_connections(pool, self.threads)

    def _run(self, pool: ThreadPoolExecutor, chunks: Iterable[Chunk]) -> bool:
        complete = True
        for chunk in chunks:
            self._take(pool, chunk)
            if self.stop():
                complete = False
                break
        while self._flush(pool) or self._flying:
            self._collect(pool, everything=True)
        self._advance()
        return complete

    def _take(self, pool: ThreadPoolExecutor, chunk: Chunk) -> None:
        counts = Counter({"read": chunk.read if self.counts_read else 0})
        for state, number in chunk.quiet.items() if self.counts_quiet else ():
            counts[QUIET.get(state, "")] += number
        counts.pop("", None)
        opened = _Open(chunk.last or "", 0, counts)
        self._chunks.append(opened)
        local: list[Outcome] = []
        for verdict in self.decide(chunk.rows):
            if isinstance(verdict, Outcome):
                local.append(verdict)
            elif isinstance(verdict, Deferred):
                self.deferred.append(verdict)
            else:
                opened.left += 1
                self._where[verdict.key] = opened
                self._add(pool, verdict)
        self._settle(local)
        self._collect(pool)
        self._advance()

    def _settle(self, outcomes: list[Outcome]) -> None:
        if not outcomes:
            return
        crash.point("settle.before")
        stored = self.settle(outcomes)
        self.deferred += [Deferred(o.local_key, 0.0) for o in outcomes if o.local_key not in stored]
        crash.point("settle.after")

    def _add(self, pool: ThreadPoolExecutor, work: Work) -> None:
        if ready := self._batches.add(work):
            self._submit(pool, ready)

    def _submit(self, pool: ThreadPoolExecutor, batch: list[Work]) -> None:
        while len(self._flying) >= 2 * self.threads:
            self._collect(pool, block=True)
        self._flying[pool.submit(self.sender.send, batch)] = batch

    def _flush(self, pool: ThreadPoolExecutor) -> bool:
        """Associations go when all records have arrived: then they fill the fewest batches."""
        ready = list(self._batches.rest(keep=Op.ASSOCIATE))
        if not ready and not self._flying:
            ready = list(self._batches.rest())
        for batch in ready:
            self._submit(pool, batch)
        return bool(ready)

    def _collect(self, pool: ThreadPoolExecutor, *, block: bool = False, everything: bool = False) -> None:
        """Takes in finished batches; their follow-ups become new work."""
        while self._flying:
            done, _ = wait(self._flying, timeout=None if block or everything else 0, return_when=FIRST_COMPLETED)
            if not done:
                return
            landed = [(self._flying.pop(future), future) for future in done]  # first: what they lead to may come here again
            for batch, future in landed:
                self._landed(pool, batch, future.result())
            if not everything:
                return

    def _landed(self, pool: ThreadPoolExecutor, batch: list[Work], sent: Sent) -> None:
        going_on = {w.key for w in sent.follow_ups}
        for work in batch:
            if work.key not in going_on and (opened := self._where.pop(work.key, None)):
                opened.left -= 1
        self.deferred += sent.deferred
        for work in sent.follow_ups:
            self._add(pool, work)

    def _advance(self) -> None:
        """The cursor is the end of the longest prefix of chunks of which every record is settled."""
        counts: Counter[str] = Counter()
        last = None
        while self._chunks and not self._chunks[0].left:
            opened = self._chunks.popleft()
            counts += opened.counts
            last = opened.last
        if last is None:
            return
        with transaction.atomic(), connection.cursor() as cursor:
            writer.advance(cursor, self.fence, counts, last)
            if self.deferred:
                self.put_off(self.deferred)
        self.deferred = []
        crash.point("cursor.after")


def _close_connections(pool: ThreadPoolExecutor, threads: int) -> None:
    """Each thread has a database connection of its own, which only it can close."""
    together = threading.Barrier(threads)

    def close() -> None:
        try:
            connections.close_all()
        finally:
            together.wait()

    wait([pool.submit(close) for _ in range(threads)])
