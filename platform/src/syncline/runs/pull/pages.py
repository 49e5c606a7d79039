"""Lots of records: pages are read ahead in a thread while earlier ones are stored, and watched for listings that go astray."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from django.db import connections

from syncline.contract import Page, Permanent, RemoteRecord, Retryable
from syncline.ledger.storable import storable

T = TypeVar("T")

LOT = 1000
"""Records that are stored together at most, when they come faster than they can be stored."""

LONGEST_ID = 200

ENDS_WITHIN = 5.0
"""Seconds that a thread has to end in before it is left to itself, where one may hang."""

AHEAD = 12
"""Pages that may wait to be stored."""


Look = Callable[[RemoteRecord], None]


@dataclass(frozen=True, slots=True)
class Lot:
    """Some records and the position after them, None when there are no more. `asked`: when, by `time.monotonic`."""

    records: Sequence[RemoteRecord]
    position: str | None
    nameless: int = 0
    asked: float = field(default_factory=time.monotonic)


class Astray(Permanent):
    """The system's listing does not come to an end. Run the sync again; if that does not help, report it with the run."""


class Silent(Retryable):
    """A connector that is to tell every few seconds that it lives did not."""


def watched(pages: Iterable[Page], begun_at: str | None) -> Iterator[Page]:
    """Raises Astray when the listing comes back to a place where it was: it would go on for ever."""
    been = {begun_at} if begun_at else set()
    for page in pages:
        yield page
        if page.position is None:
            return
        if page.position in been:
            raise Astray("The listing came back to a page that it had given before, and would never end. What came is stored.")
        been.add(page.position)
    raise Retryable("The listing ended without saying that it had come to its end. It goes on from the last page.")


def tidy(records: Iterable[RemoteRecord]) -> tuple[list[RemoteRecord], int]:
    """Each record once, as it came last, in the order of their ids; and how many had none that the ledger can hold.

    Ids of other records that it names are made such that the ledger can look for them.
    """
    found, nameless = {}, 0
    for record in records:
        if record.id and len(record.id) <= LONGEST_ID and storable(record.id) == record.id:
            found[record.id] = _tidied(record) if record.merged or record.associations else record
        else:
            nameless += 1
    return [found[key] for key in sorted(found, key=_order)], nameless


def _tidied(record: RemoteRecord) -> RemoteRecord:
    merged = tuple(map(storable, record.merged))
    associations = {name: tuple(map(storable, ids)) for name, ids in record.associations.items()}
    if merged == record.merged and associations == record.associations:
        return record
    return replace(record, merged=merged, associations=associations)


def _order(id_: str) -> tuple[int, str]:
    return len(id_), id_


def batched(ids: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(ids), size):
        yield list(ids[start : start + size])


class _Ended:
    """After the last page; `error`: why it ended before."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def ahead(pages: Iterable[Page], look: Look = lambda _record: None) -> Iterator[Iterator[Lot]]:
    """Lots of the pages, which a thread of its own reads. What it had read when it failed still comes; then its error.

    `look`: at each record, in that thread.
    """
    with together(_asked(pages, look), lambda one: len(one.page.records), LOT, AHEAD) as batches:
        yield (_lot(batch) for batch in batches)


@dataclass(frozen=True, slots=True)
class _Asked:
    page: Page
    at: float


def _asked(pages: Iterable[Page], look: Look) -> Iterator[_Asked]:
    asked = time.monotonic()
    try:
        for page in pages:
            for record in page.records:
                look(record)
            yield _Asked(page, asked)
            asked = time.monotonic()
    finally:
        close(pages)


def _lot(batch: Sequence[_Asked]) -> Lot:
    records, nameless = tidy(record for one in batch for record in one.page.records)
    return Lot(records, batch[-1].page.position, nameless, batch[0].at)


@contextmanager
def together(
    items: Iterable[T], size: Callable[[T], int], most: int, waiting: int, silence: float | None = None
) -> Iterator[Iterator[list[T]]]:
    """Those that are there, again and again: a thread of its own makes them, and has up to `waiting` more in store.

    `size`: of one. No batch is longer than `most` by more than its last item. An error of theirs comes after what was made
    before it. `silence`: seconds without an item after which it is Silent, and the thread is left to itself.
    """
    made: queue.Queue[T | _Ended] = queue.Queue(waiting)
    stop = threading.Event()
    thread = threading.Thread(target=_make, args=(items, made, stop), name="pull", daemon=True)
    thread.start()
    try:
        yield _batches(made, size, most, silence)
    finally:
        stop.set()
        thread.join(silence and ENDS_WITHIN)


def _make(items: Iterable[T], made: queue.Queue[T | _Ended], stop: threading.Event) -> None:
    ended = _Ended()
    try:
        for item in items:
            if not _put(made, item, stop):
                break
    except Exception as error:  # noqa: BLE001 - raised where the batches are used
        ended = _Ended(error)
    finally:
        close(items)
        connections.close_all()
    _put(made, ended, stop)


def close(items: Iterable[object]) -> None:
    """At once, and not whenever it is collected: a connector holds a connection in it."""
    if isinstance(items, Generator):
        items.close()


def _put(made: queue.Queue[T | _Ended], item: T | _Ended, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            made.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False


def _batches(made: queue.Queue[T | _Ended], size: Callable[[T], int], most: int, silence: float | None) -> Iterator[list[T]]:
    ended: _Ended | None = None
    while ended is None:
        try:
            item = made.get(timeout=silence)
        except queue.Empty:
            raise Silent(f"The connector gave nothing for {silence:.0f} s and may hang. It is called anew.") from None
        if isinstance(item, _Ended):
            ended = item
        else:
            batch, ended = _batch(made, item, size, most)
            yield batch
    if ended.error is not None:
        raise ended.error


def _batch(made: queue.Queue[T | _Ended], first: T, size: Callable[[T], int], most: int) -> tuple[list[T], _Ended | None]:
    batch, total = [first], size(first)
    while total < most:
        try:
            item = made.get_nowait()
        except queue.Empty:
            break
        if isinstance(item, _Ended):
            return batch, item
        batch.append(item)
        total += size(item)
    return batch, None
