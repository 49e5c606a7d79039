"""A record deleted by a person's right to it: its values are nowhere in the ledger or the inbox any more."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.test import override_settings
from syncline.inbox.models import Delivery, InboxEvent
from syncline.ledger.models import Entry, IdentityIndex, Link
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs import inbox
from syncline.runs.models import PlanRow, Run
from syncline.syncs.models import MappingVersion, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import vendor, world  # noqa: E402
from hooking.world import World, event  # noqa: E402

pytestmark = pytest.mark.django_db
SECRET = "ann.lee@example.org"


@pytest.fixture
def here(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = world.build()
    monkeypatch.setattr(inbox, "pull_ids", made.pulls)
    monkeypatch.setattr(inbox, "LINGER", 0)
    with vendor.installed(), override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"]):
        yield made


def keep(here: World, remote_id: str) -> None:
    """All that the host keeps with values of a record, as pushes, pulls and plans leave it."""
    pair = {"connection": here.first, "object_type": "things"}
    sync = Sync.objects.create(name=f"s{remote_id}", dataset="test.person", created_by=here.owner, **pair)
    version = MappingVersion.objects.create(sync=sync, number=1, content={}, digest="x", published_by=here.owner)
    run = Run.objects.create(sync=sync, version=version, kind=Run.Kind.FULL, state=Run.State.SUCCEEDED)
    link = Link.objects.create(dataset="test.person", local_key=remote_id, remote_id=remote_id, state="delivered", **pair)
    Entry.objects.create(link_id=link.pk, run_id=run.pk, op="update", status="updated", sent={"email": SECRET}, message=SECRET)
    Conflict.objects.create(sync=sync, link=link, property="email", field="email", here=SECRET, there="x", run_id=run.pk)
    Arrival.objects.create(sync=sync, remote_id=remote_id, state="rejected", title=SECRET, reason=SECRET)
    IdentityIndex.objects.create(property="email", value=SECRET, remote_id=remote_id, **pair)
    PlanRow.objects.create(run=run, local_key=remote_id, remote_id=remote_id, action="update", changes={"email": [None, SECRET]})
    here.post([event(remote_id, data={"email": SECRET})])


def told() -> list[str]:
    """Where the value stands, in any table of ours."""
    found = []
    for model in apps.get_app_config("syncline").get_models():
        for row in model._default_manager.values():
            texts = [bytes(v).decode() if isinstance(v, bytes | memoryview) else json.dumps(v, default=str) for v in row.values()]
            if any(SECRET in text for text in texts):
                found.append(model.__name__)
    return sorted(set(found))


def test_nothing_of_an_erased_record_is_left(here: World) -> None:
    keep(here, "7")
    inbox.drain(5)
    assert {"Entry", "Conflict", "Arrival", "IdentityIndex", "PlanRow", "Delivery"} <= set(told())

    here.post([event("7", kind="erased")])
    inbox.drain(5)

    assert told() == []
    assert PlanRow.objects.get().state == "stale"
    assert Link.objects.get().remote_id == "7"
    assert here.pulls.asked[-1] == (here.first.pk, "things", ["7"])
    assert set(here.states()) == {"done"}


def test_what_is_kept_of_others_stays_and_so_does_the_event_itself(here: World) -> None:
    keep(here, "8")
    before = told()

    here.post([event("7", kind="erased")])
    inbox.drain(5)

    assert told() == before
    assert bytes(Delivery.objects.latest("pk").body) != b""


def test_any_other_deletion_leaves_what_was_written(here: World) -> None:
    keep(here, "7")

    here.post([event("7", kind="deleted")])
    inbox.drain(5)

    assert Entry.objects.get().sent == {"email": SECRET}


def test_it_is_forgotten_where_nobody_pulls_and_no_run_can_take_it(here: World) -> None:
    keep(here, "7")
    here.pulls.syncs = 0
    here.post([event("7", kind="erased")])

    inbox.drain(5)

    assert told() == []
    assert InboxEvent.objects.latest("pk").state == "ignored"
