"""What becomes old of messages: what still waits, and what nobody decided about, stays."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone
from syncline.inbox.models import Delivery, InboxEvent
from syncline.inbox.retention import forget_old
from syncline.ledger.messages import DeadLetter, Incoming, Outgoing

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from messaging.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db
YEARS = 3 * 365 * 86_400.0


@pytest.fixture
def ann(db: None) -> Iterator[World]:
    with installed():
        yield World()


def test_an_event_stays_while_a_sync_has_still_to_pass_it_on(ann: World) -> None:
    sync, other = ann.relay(), ann.relay()
    waits, done = ann.event("waits", ago=YEARS), ann.event("done", ago=YEARS)
    young = ann.event("young")
    ann.outgoing(sync, waits)
    ann.outgoing(other, waits, "published", remote_id="0:1")
    ann.outgoing(sync, done, "published", remote_id="0:2")
    ann.outgoing(sync, young, "published", remote_id="0:3")
    assert forget_old() == 1
    assert set(InboxEvent.objects.values_list("remote_id", flat=True)) == {"waits", "young"}
    assert set(Outgoing.objects.values_list("key", flat=True)) == {"waits", "young"}
    Outgoing.objects.update(state="published")
    assert forget_old() == 1
    assert Delivery.objects.count() == 1
    assert list(Outgoing.objects.values_list("key", flat=True)) == ["young"]


def test_what_was_taken_in_goes_with_age(ann: World) -> None:
    for place in ("0:1", "0:2"):
        Incoming.objects.create(sync_id=1, run_id=1, remote_id=place, local_key="1", status="created")
    Incoming.objects.filter(remote_id="0:1").update(at="2020-01-01T00:00:00Z")
    forget_old()
    assert list(Incoming.objects.values_list("remote_id", flat=True)) == ["0:2"]


def test_dead_letters_go_with_age_once_they_are_decided(ann: World) -> None:
    sync = ann.stream()
    for place, state in (("0:1", "open"), ("0:2", "taken"), ("0:3", "dismissed")):
        ann.letter(sync, place, state=state, at="2020-01-01T00:00:00Z")
    ann.letter(sync, "0:4", state="dismissed", at=timezone.now())
    forget_old()
    assert set(DeadLetter.objects.values_list("remote_id", flat=True)) == {"0:1", "0:4"}
