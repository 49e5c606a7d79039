"""The identity index over a vendor in memory: broken off, overtaken, shared by two syncs, and when it is listed all the same."""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from syncline.contract import ObjectType, Page, PullRequest, RemoteRecord, Session, UnsupportedFeature, hookimpl
from syncline.ledger.models import IdentityIndex, IndexState
from syncline.runs import execute
from syncline.runs.models import Run, RunPart
from syncline.runs.start import start_run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Fake, Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = 2


class Dated(Vendor):
    """Knows when each record was changed. `between`: called before each page but the first, with what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: dict[str, dt.datetime] = {}
        self.asked: list[PullRequest] = []
        self.between: Callable[[PullRequest], None] = lambda _request: None
        self.total: int | None = None
        self.count: int | None = None

    def types(self) -> list[ObjectType]:
        return [replace(one, pull_since=True, count=self.count) for one in super().types()]

    def seed(self, table: str, **properties: Any) -> str:
        made = super().seed(table, **properties)
        self.touch(made)
        return made

    def touch(self, remote_id: str, **properties: Any) -> None:
        self.tables["people"].get(remote_id, next(iter(self.tables["people"].values()))).properties |= properties
        self.touched[remote_id] = dt.datetime.now(dt.UTC)

    def pages(self, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        self.asked.append(request)
        never = dt.datetime.fromtimestamp(0, dt.UTC)
        known = [h for h in self.live(object_type.key) if self.touched.get(h.id, never) >= (request.since or never)]
        records = [RemoteRecord(h.id, {n: h.properties.get(n) for n in request.properties}) for h in known]
        yield Page(records[:PAGE], "", self.total if request.since else None)
        for start in range(PAGE, len(records), PAGE):
            self.between(request)
            yield Page(records[start : start + PAGE], "")

    @property
    def listings(self) -> int:
        return sum(request.since is None for request in self.asked)


class Telling(Fake):
    vendor: Dated

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return self.vendor.pages(object_type, request)


@pytest.fixture
def vendor() -> Dated:
    return Dated()


@pytest.fixture
def lab(vendor: Dated) -> Iterator[Lab]:
    with installed(vendor, Telling):
        yield Lab(vendor)


def old(vendor: Dated) -> None:
    """Everything there was changed long before anybody asked."""
    vendor.touched = dict.fromkeys(vendor.touched, dt.datetime(2020, 1, 1, tzinfo=dt.UTC))


def seen_until() -> dt.datetime:
    return IndexState.objects.get(object_type="people").seen_until


def test_broken_off_between_two_pages_it_is_no_further_than_before_and_then_catches_up(lab: Lab, vendor: Dated) -> None:
    sync = lab.sync()
    lab.people(1)
    lab.run(sync)
    before = seen_until()
    there = [vendor.seed("people", name=f"There {n}", email=f"p{n}@example.org") for n in range(1, 6)]
    lab.people(5, start=1)

    def killed(_request: PullRequest) -> None:
        raise KeyboardInterrupt

    vendor.between = killed
    run = start_run(sync)
    with pytest.raises(KeyboardInterrupt):
        execute.work(5, run.pk)
    assert IdentityIndex.objects.filter(remote_id__in=there).values("remote_id").distinct().count() == PAGE
    assert seen_until() == before
    vendor.between = lambda _request: None
    RunPart.objects.filter(run=run).update(lease_until=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1))
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(5, run.pk)
        time.sleep(0.02)
    run.refresh_from_db()
    assert counts(run) == {"adopted": 5, "unchanged": 1}
    assert seen_until() > before
    assert vendor.listings == 1


def test_two_syncs_that_match_by_different_properties_share_one_listing(lab: Lab, vendor: Dated) -> None:
    vendor.seed("people", name="There", email="p1@example.org", city="City 2")
    by_email = lab.sync()
    by_city = lab.sync({"name": {}, "city": {}}, match=({"property": "city"},), dataset="test.named")
    for number, sync in enumerate((by_email, by_city, by_email, by_city), 1):
        lab.people(1, start=10 * number)
        lab.run(sync)
    assert vendor.listings == 1
    assert len(vendor.asked) == 4


def test_a_sync_that_needs_more_than_is_indexed_lists_once_more(lab: Lab, vendor: Dated) -> None:
    lab.people(1)
    lab.run(lab.sync())
    there = vendor.seed("people", name="There", city="City 5")
    old(vendor)
    by_city = lab.sync({"name": {}, "city": {}}, match=({"property": "city"},), dataset="test.named")
    lab.people(1, start=5)
    lab.run(by_city)
    assert vendor.listings == 2
    assert vendor.tables["people"][there].properties["name"] == "Name 5"


def test_a_catching_up_says_nothing_of_what_a_listing_brought_in_that_was_under_way(lab: Lab, vendor: Dated) -> None:
    """The listing read properties of which the catching up knows nothing: after it, they are as old as the listing."""
    sync = lab.sync()
    lab.people(1)
    lab.run(sync)
    for n in range(1, 4):
        vendor.seed("people", name=f"There {n}", email=f"p{n}@example.org")
    lab.people(3, start=1)
    other = lab.sync({"name": {}, "city": {}}, match=({"property": "city"},), dataset="test.named")
    reached, go = threading.Event(), threading.Event()

    def meanwhile(request: PullRequest) -> None:
        if request.since is None:
            reached.set()
            go.wait(20)
        else:
            go.set()
            listing.join(20)

    def listed() -> None:
        try:
            lab.run(other)
        finally:
            connections.close_all()

    vendor.between = meanwhile
    listing = threading.Thread(target=listed)
    listing.start()
    assert reached.wait(20)
    lab.run(sync)
    listing.join(20)
    assert vendor.listings == 2
    state = IndexState.objects.get(object_type="people")
    assert {step["property"] for step in state.indexed["steps"]} == {"email", "city"}
    assert state.seen_until == state.listed_at


def test_a_value_that_we_write_while_a_page_is_on_its_way_stays(lab: Lab, vendor: Dated) -> None:
    """The page holds what was there before our write."""
    sync = lab.sync()
    lab.people(1)
    lab.run(sync)
    there = [vendor.seed("people", name=f"There {n}", email=f"there{n}@example.org") for n in range(3)]
    (name,) = IndexState.objects.get(object_type="people").indexed["steps"]
    assert name["property"] == "email"

    def ours(_request: PullRequest) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO syncline_identityindex (connection_id, object_type, property, value, remote_id)"
                " SELECT connection_id, object_type, property, 'ours@example.org', %s FROM syncline_identityindex LIMIT 1",
                [there[2]],
            )

    vendor.between = ours
    lab.people(1, start=9)
    lab.run(sync)
    assert set(IdentityIndex.objects.filter(remote_id=there[2]).values_list("value", flat=True)) == {
        "ours@example.org",
        "there2@example.org",
    }


def test_when_more_than_half_has_changed_a_listing_is_sooner_done(lab: Lab, vendor: Dated) -> None:
    vendor.count = 100
    sync = lab.sync()
    lab.people(1)
    lab.run(sync)
    vendor.total = 51
    lab.people(1, start=1)
    lab.run(sync)
    assert vendor.listings == 2
    vendor.total = 50
    lab.people(1, start=2)
    lab.run(sync)
    assert vendor.listings == 2


def test_a_connector_that_finds_no_way_after_all_is_asked_for_a_listing(lab: Lab, vendor: Dated) -> None:
    sync = lab.sync()
    lab.people(1)
    lab.run(sync)
    for n in range(3):
        vendor.seed("people", name=f"There {n}", email=f"there{n}@example.org")

    def lost(request: PullRequest) -> None:
        if request.since:
            raise UnsupportedFeature("Too many of them are archived.")

    vendor.between = lost
    lab.people(1, start=1)
    assert counts(lab.run(sync)) == {"created": 1, "unchanged": 1}
    assert vendor.listings == 2


def test_the_account_is_listed_again_in_its_own_time(lab: Lab, vendor: Dated, settings: Any) -> None:
    sync = lab.sync()
    lab.people(1)
    lab.run(sync)
    gone = vendor.seed("people", name="Soon gone", email="gone@example.org")
    lab.people(1, start=1)
    lab.run(sync)
    vendor.delete("people", gone)
    assert IdentityIndex.objects.filter(remote_id=gone).exists()
    settings.SYNCLINE_INDEX_DAYS = 0
    lab.people(1, start=2)
    lab.run(sync)
    assert vendor.listings == 2
    assert not IdentityIndex.objects.filter(remote_id=gone).exists()


def test_what_our_updates_change_is_in_the_index_at_once_and_a_merged_id_leads_to_the_survivor(lab: Lab, vendor: Dated) -> None:
    sync = lab.sync()
    (person,) = lab.people(1)
    lab.run(sync)
    User.objects.filter(pk=person.pk).update(email="new@example.org")
    lab.run(sync)
    mine = lab.link(person).remote_id
    assert IdentityIndex.objects.filter(value="new@example.org", remote_id=mine).exists()
    survivor = vendor.merge("people", mine or "", vendor.seed("people", name="Other"))
    User.objects.filter(pk=person.pk).update(last_name="Elsewhere")
    lab.run(sync)
    assert lab.link(person).remote_id == survivor
    assert not IdentityIndex.objects.filter(remote_id=mine).exists()
    assert IdentityIndex.objects.filter(value="new@example.org", remote_id=survivor).exists()
