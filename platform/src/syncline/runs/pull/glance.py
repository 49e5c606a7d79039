"""What can be said of a remote record without the database. Said where its page is read, it does not hold up what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from syncline.contract import MatchStep, RemoteRecord
from syncline.runs.push.identities import OWN_KEY, index_name, step_values
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.engine.inbound import InboundMapping


@dataclass(slots=True)
class Glance:
    """`values`: what it can be found by, with the number of the step. `mapped`: None as long as nobody asked."""

    record: RemoteRecord
    brief: str
    values: frozenset[tuple[int, str]]
    mapped: Mapped | None = None


class Glances:
    """Of the records that are read and not yet stored; one thread may look ahead while another one asks.

    `own`: the property that holds our own key there, "" for none.
    """

    def __init__(self, inbound: InboundMapping, steps: Sequence[MatchStep], own: str) -> None:
        self._inbound, self._steps, self._own = inbound, steps, own
        self._names = [index_name(step) for step in steps]
        self._known: dict[str, Glance] = {}
        self._mapping, self._mapped = False, 0

    def ahead(self, record: RemoteRecord) -> None:
        """Maps it as well when that was needed for most of the last lot: where little has changed it is not."""
        glance = self.of(record)
        if self._mapping and glance.mapped is None:
            glance.mapped = self._inbound.map(record.properties)

    def of(self, record: RemoteRecord) -> Glance:
        known = self._known.get(record.id)
        if known is None or known.record is not record:
            known = self._known[record.id] = Glance(record, self._brief(record), self._values(record))
        return known

    def mapped(self, record: RemoteRecord) -> Mapped:
        self._mapped += 1
        glance = self.of(record)
        if glance.mapped is None:
            glance.mapped = self._inbound.map(record.properties)
        return glance.mapped

    def identities(self, records: Iterable[RemoteRecord]) -> Iterator[tuple[str, str, str]]:
        """Rows of the identity index, as `Spec.identities` gives them."""
        for record in records:
            if record.archived:
                continue
            if self._own and (own := record.properties.get(self._own)):
                yield OWN_KEY, str(own), record.id
            for step, value in self.of(record).values:
                yield self._names[step], value, record.id

    def forget(self, records: Sequence[RemoteRecord]) -> None:
        """They are stored."""
        for record in records:
            self._known.pop(record.id, None)
        self._mapping, self._mapped = 2 * self._mapped > len(records), 0

    def _brief(self, record: RemoteRecord) -> str:
        return self._inbound.brief(record.properties, referred(self._inbound, record))

    def _values(self, record: RemoteRecord) -> frozenset[tuple[int, str]]:
        return frozenset((n, v) for n, step in enumerate(self._steps) for v in step_values(step, record))


def referred(inbound: InboundMapping, record: RemoteRecord) -> dict[str, tuple[str, ...]]:
    return {one.object_type: tuple(sorted(record.associations.get(one.object_type, ()))) for one in inbound.references}
