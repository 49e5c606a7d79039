"""The records of a bulk job on their way to it: from the dataset to a file on disk, so that a million need no memory."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import IO

from syncline.contract import Change, Op
from syncline.ledger.records import Mark

from .work import Policy, Work

MARKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Spooled:
    """One record: its change, and what its link says while the job carries it."""

    change: Change
    mark: Mark


class Spool:
    """Iterating gives the changes, from the first one each time, without those whose links were taken by somebody else."""

    def __init__(self) -> None:
        self.count = 0
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the block around it
        self._dropped: set[str] = set()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def add(self, spooled: Spooled) -> None:
        pickle.dump(spooled, self._file, pickle.HIGHEST_PROTOCOL)
        self.count += 1

    def drop(self, keys: set[str]) -> None:
        self._dropped |= keys
        self.count -= len(keys)

    def marks(self) -> Iterator[Sequence[Mark]]:
        marks = (spooled.mark for spooled in self._all())
        while some := list(islice(marks, MARKED_AT_ONCE)):
            yield some

    def __iter__(self) -> Iterator[Change]:
        return (spooled.change for spooled in self._all() if spooled.change.local_key not in self._dropped)

    def _all(self) -> Iterator[Spooled]:
        place = 0
        while True:
            self._file.seek(place)  # somebody else may read it meanwhile
            try:
                spooled: Spooled = pickle.load(self._file)  # noqa: S301 - this process wrote it just before
            except EOFError:
                return
            place = self._file.tell()
            yield spooled


def spooled(policy: Policy, tag: str, work: Work) -> Spooled:
    """`work` creates its record by our own key."""
    unique = policy.unique_value(work.key)
    change = Change(work.key, Op.UPSERT, unique_key=unique, properties=work.write.properties)
    return Spooled(change, Mark(work.key, work.revision, Op.UPSERT, None, tag, work.write.settled, work.row.hash))


def importable(work: Work, tag: str, match_by: str) -> bool:
    """Whether a record goes by the job: it would be created, as far as is known here, and nothing about it is in doubt.

    `match_by`: the job finds existing records by this property; a record without a value for it could not be found.
    """
    link = work.row.link
    in_doubt = work.again and not (link and link.refused_digest == tag)
    new = work.op is Op.UPSERT and work.remote_id is None and not work.adopting
    known = not match_by or work.mapped.properties.get(match_by) not in (None, "")
    return new and not in_doubt and known and not work.mapped.held and bool(work.write.properties)
