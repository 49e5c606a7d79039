"""What is said of a record before it is stored: of that very record, and mapped ahead only where that is worth it."""

from __future__ import annotations

from typing import Any

import pytest
from syncline.contract import DatasetInfo, Field, Kind, MatchRule, MatchStep, ObjectType, Property, RemoteRecord
from syncline.runs.pull.glance import Glances
from syncline.runs.push.identities import Spec
from syncline.syncs.engine import MappingContent, RuleContent
from syncline.syncs.engine.compile import Mapped
from syncline.syncs.engine.content import Direction, Owner
from syncline.syncs.engine.inbound import InboundMapping, compile_inbound

pytestmark = pytest.mark.unit

NAMES = ("name", "site", "also", "key")
THERE = ObjectType("companies", "Companies", tuple(Property(n, n, Kind.STRING) for n in NAMES), {}, unique_key="key")
HERE = DatasetInfo("t.company", "Companies", (Field("name", "Name", Kind.STRING, writable=True),))
STEPS = (MatchStep("site", also=("also",), normalise="domain"), MatchStep("name"))


class Counted(InboundMapping):
    maps = 0

    def map(self, properties: Any) -> Mapped:
        self.maps += 1
        return super().map(properties)


@pytest.fixture
def inbound() -> Counted:
    rule = RuleContent("name", "name", owner=Owner.THERE)
    compiled = compile_inbound(MappingContent((rule,), MatchRule(STEPS), direction=Direction.PULL), HERE, THERE)
    compiled.__class__ = Counted
    assert isinstance(compiled, Counted)
    return compiled


@pytest.fixture
def glances(inbound: Counted) -> Glances:
    return Glances(inbound, STEPS, "key")


def record(number: int, **values: str) -> RemoteRecord:
    return RemoteRecord(str(number), {"name": f"Name {number}", "site": f"https://www.c{number}.com/", **values})


def test_a_record_that_came_again_is_looked_at_again(glances: Glances) -> None:
    glances.ahead(record(1))
    newer = record(1, name="New", site="new.com")
    first = glances.of(record(1)).brief

    assert glances.of(newer).values == {(0, "new.com"), (1, "new")}
    assert glances.mapped(newer).properties == {"name": "New"}
    assert glances.of(newer).brief != first


def test_it_gives_the_rows_of_the_index_as_the_index_would(glances: Glances) -> None:
    records = [record(1, key="k1", also="other.com;third.com"), record(2), RemoteRecord("3", {"name": "Gone"}, archived=True)]
    spec = Spec.of(STEPS, THERE)

    assert sorted(glances.identities(records)) == sorted(row for one in records for row in spec.identities(one))
    assert ("=key", "k1", "1") in glances.identities(records)


def test_it_maps_ahead_where_most_of_the_last_lot_was_mapped(glances: Glances, inbound: Counted) -> None:
    first, second, third = ([record(n), record(n + 1), record(n + 2)] for n in (1, 4, 7))

    for one in first:
        glances.ahead(one)
    assert inbound.maps == 0
    for one in first[:2]:
        glances.mapped(one)
    glances.forget(first)
    for one in second:
        glances.ahead(one)
    assert inbound.maps == 5

    glances.mapped(second[0])
    glances.forget(second)
    for one in third:
        glances.ahead(one)
    assert inbound.maps == 5


def test_nothing_is_kept_of_what_is_stored(glances: Glances) -> None:
    records = [record(n) for n in range(20)]
    for one in records:
        glances.ahead(one)

    glances.forget(records)

    assert glances._known == {}
