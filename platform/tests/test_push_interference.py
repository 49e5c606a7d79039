"""Others change what a push relies on while it is under way: another sync's look-up, and a worker that lost its claim."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from syncline.contract import ObjectType
from syncline.ledger.models import Link
from syncline.runs import claims, execute
from syncline.runs.models import Run, RunPart
from syncline.runs.start import start_run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab() -> Iterator[Lab]:
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def to_the_end(run: Run) -> Run:
    end = time.monotonic() + 20
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        assert time.monotonic() < end, "The run does not come to its end."
        execute.work(5, run.pk)
    run.refresh_from_db()
    return run


def test_a_look_up_by_other_properties_takes_nothing_from_a_run_under_way(lab: Lab) -> None:
    lab.people(5)
    for number in range(5):
        lab.vendor.seed("people", name=f"Known {number}", email=f"p{number}@example.org")
    by_email = lab.sync()
    by_city = lab.sync({"name": {}, "city": {}}, match=({"property": "city"},), segment="active")
    run = start_run(by_email)
    claim = claims.claim("me", run.pk)
    assert claim
    execute.execute(claim)  # the look-up
    User.objects.filter(is_staff=False).update(is_active=False)
    User.objects.create(username="late", first_name="Late", last_name="Late", is_active=True)
    assert lab.run(by_city).created == 1
    assert to_the_end(run).adopted == 5
    assert len(lab.vendor.live()) == 6


def test_a_semicolon_in_a_name_is_a_character(lab: Lab) -> None:
    whole = lab.vendor.seed("people", name="Smith; Sons")
    lab.vendor.seed("people", name="Alpha; Beta")
    for number, name in enumerate(("Smith; Sons", "Alpha")):
        User.objects.create(username=f"u{number}", first_name=name)
    run = lab.run(lab.sync({"name": {}}, match=({"property": "name"},)))
    assert counts(run) == {"adopted": 1, "created": 1}
    assert Link.objects.get(remote_id=whole).local_key == str(User.objects.get(username="u0").pk)
    assert sorted(str(h.properties["name"]) for h in lab.vendor.live()) == ["Alpha", "Alpha; Beta", "Smith; Sons"]


def test_a_value_sent_late_by_a_worker_that_lost_its_claim_is_corrected(lab: Lab) -> None:
    """The successor delivers a newer value while the first worker's call is still on its way."""
    sync = lab.sync()
    (person,) = lab.people(1)
    lab.run(sync)
    User.objects.filter(pk=person.pk).update(last_name="Old")
    run = start_run(sync)

    def overtaken(vendor: Vendor, object_type: ObjectType, changes: Sequence[object]) -> None:
        User.objects.filter(pk=person.pk).update(last_name="New")
        RunPart.objects.filter(state="leased").update(lease_until=timezone.now() - timezone.timedelta(minutes=1))  # type: ignore[attr-defined]
        vendor.lock.release()  # the successor calls while this call has not arrived
        try:
            assert to_the_end(run).state == "succeeded"
        finally:
            vendor.lock.acquire()
        assert lab.vendor.by_name()["Name 0"].properties["city"] == "New"

    lab.vendor.faults = [overtaken]
    execute.work(5, run.pk)
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "Old"
    assert lab.link(person).state == Link.State.UNCERTAIN
    lab.run(sync)
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "New"
    assert lab.link(person).state == Link.State.DELIVERED
