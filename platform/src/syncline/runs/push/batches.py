"""Collects work into batches as large as the vendor takes, one kind of operation each. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from syncline.contract import ConfigError, ObjectType, Op

from .work import Work, associations


class Batches:
    """A batch is ready when the next record would not fit; `rest` gives what is left over.

    `share`: only this part of what the vendor takes, so that a batch which nobody answers for gets smaller round by round.
    """

    def __init__(self, object_type: ObjectType, share: float = 1.0) -> None:
        self._object_type, self._share = object_type, share
        self._open: dict[Op, list[Work]] = {}
        self._weight: dict[Op, int] = {}

    def add(self, work: Work) -> list[Work] | None:
        """Gives a full batch when there is one."""
        weight, size = self._weigh(work), self._size(work.op)
        waiting = self._open.setdefault(work.op, [])
        if waiting and self._weight[work.op] + weight > size:
            ready = self._take(work.op)
            self._open[work.op] = [work]
            self._weight[work.op] = weight
            return ready
        waiting.append(work)
        self._weight[work.op] = self._weight.get(work.op, 0) + weight
        return self._take(work.op) if self._weight[work.op] >= size else None

    def rest(self, *, keep: Op | None = None) -> Iterator[list[Work]]:
        for op in list(self._open):
            if op is not keep and (batch := self._take(op)):
                yield batch

    def _take(self, op: Op) -> list[Work]:
        self._weight[op] = 0
        return self._open.pop(op, [])

    def _weigh(self, work: Work) -> int:
        return len(associations(work.references, work.have)) if work.op is Op.ASSOCIATE else 1

    def _size(self, op: Op) -> int:
        size = self._object_type.batch_sizes.get(op)
        if not size:
            raise ConfigError(f"{self._object_type.title} cannot be written by {op.value}. Choose another object or mode.")
        return max(1, int(size * self._share))
