"""How continuous syncs stand, as people see it: on their pages, the overview, in the command line and in the API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags
from rich.console import Console
from syncline import listing
from syncline.cli import main
from syncline.connections.models import Grant
from syncline.ledger.messages import Incoming
from syncline.ledger.pulled import Checkpoint
from syncline.runs import claims, workers
from syncline.runs.models import Run, RunPart
from syncline.runs.stream import claiming
from syncline.runs.stream.job import GAUGED, Gauge
from syncline.runs.stream.keeping import Keeper
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from messaging.world import World, carried, failed, installed, process, staff  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr("syncline.connections.startup.begin", lambda: None)  # it would close the test's connection
    with installed():
        made = World()
        client.force_login(made.owner)
        yield made


def text(client: Client, name: str, *args: int) -> str:
    answer = client.get(reverse(f"admin:{name}", args=args))
    assert answer.status_code == 200, name
    return words(answer.content.decode())


def words(page: str) -> str:
    return " ".join(strip_tags(page.replace("<", " <")).split())


def live(client: Client, sync: Sync) -> str:
    return text(client, "syncline_sync_streaming", sync.pk)


def do(client: Client, sync: Sync, name: str, **data: str) -> str:
    answer = client.post(reverse("admin:syncline_sync_do", args=[sync.pk, name]), data, follow=True)
    return words(answer.content.decode())


def at(sync: Sync, partition: str, position: str) -> None:
    Checkpoint.objects.update_or_create(sync=sync, partition=partition, defaults={"position": position})


def test_without_a_process_the_page_says_how_to_start_one(client: Client, ann: World) -> None:
    sync = ann.stream()
    ann.kept(sync)
    assert "Start one with: syncline stream" in live(client, sync)
    process(quiet=60)
    assert "Start one with: syncline stream" in live(client, sync)


def test_each_partition_tells_who_is_at_it_how_far_and_how_fast(client: Client, ann: World) -> None:
    sync, mill = ann.stream(), process()
    run = ann.kept(sync)
    at(sync, "0", "1718")
    carried(run, mill, "0", behind=1234, rate=56.7, created=3, updated=4, unchanged=5, rejected=2)
    shown = live(client, sync)
    assert "Partition 0 running mill, process 11 1718 1,234 56.7" in shown
    assert "Partition 1 waits for a process – the oldest" in shown
    assert "1 of 2 parts wait for a process" in shown
    assert "taken in 7" in shown
    assert "refused 2" in shown
    assert "Partition 0 running mill, process 11 1718" in text(client, "syncline_run_change", run.pk)
    assert "Partition 0 running mill, process 11 1718" in text(client, "syncline_run_progress", run.pk)


def test_a_part_that_cannot_go_on_tells_its_error_and_when_it_is_tried_again(client: Client, ann: World) -> None:
    sync = ann.stream()
    process()
    failed(ann.kept(sync), "1", "The broker does not answer.", seconds=600)
    shown = live(client, sync)
    assert "in trouble" in shown
    assert "tried 4 times" in shown
    assert "The broker does not answer. for 5 min 0 s; tried again in 10 min" in shown


def test_an_error_is_dated_by_the_first_of_its_kind_and_over_with_the_first_success(client: Client, ann: World) -> None:
    run, mill = ann.kept(ann.stream()), process()
    first = claimed(mill.name)
    claims.release(first.fence, error="No leader.", spent=True)
    RunPart.objects.filter(pk=first.part.pk).update(failing_since="2026-01-01T00:00:00Z")
    again = claimed(mill.name)
    claims.release(again.fence, error="No leader.", spent=True)
    assert run.parts.get(pk=first.part.pk).failing_since == datetime(2026, 1, 1, tzinfo=UTC)
    gauge = Gauge(claimed(mill.name))
    gauge._since -= GAUGED
    gauge.saw(0, 0)
    part = run.parts.get(pk=first.part.pk)
    assert (part.last_error, part.failing_since) == ("", None)


def claimed(owner: str) -> claims.Claim:
    """Always the first partition."""
    RunPart.objects.exclude(partition="0").update(state=RunPart.State.DONE)
    RunPart.objects.update(not_before="2026-01-01T00:00:00Z")
    found = claiming.claim(owner)
    assert found is not None
    return found


def test_shards_tell_how_many_messages_wait_and_for_how_long(client: Client, ann: World) -> None:
    sync = ann.relay()
    ann.kept(sync)
    process()
    for shard, ago in ((0, 130.0), (0, 20.0), (3, 10.0)):
        ann.outgoing(sync, ann.event(ago=ago), shard=shard)
    ann.outgoing(sync, ann.event(ago=900), "published", remote_id="0:1")
    shown = live(client, sync)
    assert "behind 3 messages wait, the oldest for 2 min 10 s" in shown
    assert "Shard 0 waits for a process – 2 for 2 min 10 s" in shown
    assert "Shard 1 waits for a process – 0" in shown


def test_what_blocks_it_is_told_and_forgotten_when_it_goes_on(client: Client, ann: World) -> None:
    sync = ann.relay()
    ann.kept(sync)
    process()
    Sync.objects.filter(pk=sync.pk).update(source=None)
    Keeper().look()
    assert "It is not said whose messages are passed on" in live(client, sync)
    assert "whose messages are passed on" in text(client, "index")
    Sync.objects.filter(pk=sync.pk).update(source=ann.vendor)
    Keeper().look()
    assert "blocked" not in live(client, sync)


def test_it_is_paused_and_resumed_from_its_page_and_stays_paused_over_days(client: Client, ann: World) -> None:
    sync = ann.stream()
    run = ann.kept(sync)
    process()
    assert "It is paused" in do(client, sync, "pause")
    Run.objects.update(created_at="2026-01-01T00:00:00Z")
    Keeper().look()
    run.refresh_from_db()
    assert run.state == Run.State.PAUSED
    assert "paused" in live(client, sync)
    assert "It goes on where it stood." in do(client, sync, "resume")
    assert "It is not paused." in do(client, sync, "resume")


def test_the_overview_shows_streams_in_trouble_first_and_their_processes(client: Client, ann: World) -> None:
    good, bad = ann.stream(), ann.relay()
    mill = process()
    run = ann.kept(good)
    for partition in ("0", "1"):
        carried(run, mill, partition, behind=0)
    failed(Run.objects.get(sync=bad), "2", "No leader.")
    Sync.objects.filter(pk=good.pk).update(name="aaa")
    shown = text(client, "index")
    assert shown.index(bad.name) < shown.index("aaa running")
    assert "Stream processes" not in shown
    client.force_login(User.objects.create_superuser("root", "root@example.com", "x"))
    assert "mill streams process 11 · 2 parts" in text(client, "index")


def test_the_overview_costs_the_same_for_few_and_for_many_streams(client: Client, ann: World) -> None:
    def queries() -> int:
        client.get(reverse("admin:index"))
        with CaptureQueriesContext(connection) as seen:
            client.get(reverse("admin:index"))
        return len(seen)

    ann.relay(), ann.stream()
    Keeper().look()
    few = queries()
    for _ in range(3):
        ann.relay(), ann.stream()
    Keeper().look()
    assert queries() == few


def test_nobody_sees_how_streams_of_others_stand(client: Client, ann: World) -> None:
    bob = World("bob")
    sync = bob.stream()
    run = bob.kept(sync)
    for address in (
        reverse("admin:syncline_sync_streaming", args=[sync.pk]),
        reverse("admin:syncline_run_progress", args=[run.pk]),
        f"/api/v1/syncs/{sync.pk}/stream/",
    ):
        assert client.get(address).status_code in {302, 404}, address
    assert "bobs-" not in text(client, "index")
    assert client.post(reverse("admin:syncline_sync_do", args=[sync.pk, "pause"])).status_code in {302, 404}
    run.refresh_from_db()
    assert run.state == Run.State.QUEUED


def test_who_may_only_look_finds_no_buttons(client: Client, ann: World) -> None:
    sync = ann.stream()
    ann.kept(sync)
    Grant.objects.create(connection=ann.log, user=staff("carl", "move_checkpoint"))
    client.force_login(User.objects.get(username="carl"))
    shown = text(client, "syncline_sync_change", sync.pk)
    assert "Partition 0" in shown
    assert "Pause it" not in shown
    assert client.post(reverse("admin:syncline_sync_do", args=[sync.pk, "pause"])).status_code == 403


def test_the_api_tells_the_same(client: Client, ann: World) -> None:
    sync = ann.stream()
    carried(ann.kept(sync), process(), "0", behind=7, rate=2.5)
    at(sync, "0", "18")
    told = client.get(f"/api/v1/syncs/{sync.pk}/stream/").json()
    assert (told["state"], told["behind"]) == ("waiting for a process", 7)
    first = told["parts"][0]
    assert [first[name] for name in ("partition", "carried", "position", "behind", "rate")] == ["0", True, "18", 7, 2.5]
    Sync.objects.filter(pk=sync.pk).update(continuous=False)
    assert client.get(f"/api/v1/syncs/{sync.pk}/stream/").status_code == 409


def test_workers_lists_stream_processes_too(ann: World, capsys: pytest.CaptureFixture[str]) -> None:
    listing.show_streams(workers.stream_processes(), Console(width=150), wanted=True)
    assert "Start one with: syncline stream" in capsys.readouterr().out
    sync = ann.stream()
    carried(ann.kept(sync), process(), "0")
    process("barn:2:b", "barn", 12, quiet=60)
    listing.show_streams(workers.stream_processes(), Console(width=150), wanted=True)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [(line[0], line[-2], line[-1]) for line in lines] == [("barn", "0", "silent"), ("mill", "1", "streams")]


def command(*words: str) -> str:
    return " ".join(CliRunner().invoke(main, ["position", *words]).output.split())


def test_positions_are_told_and_moved_by_partition_while_it_rests(ann: World) -> None:
    sync = ann.stream()
    run = ann.kept(sync)
    at(sync, "0", "18")
    name = str(sync.pk)
    assert "partition 0: the next message is 18" in command("get", name)
    assert "partition 1: begins with the oldest message" in command("get", name, "--partition", "1")
    assert "is running. Pause it, or switch it off" in command("set", name, "5", "--partition", "0")
    Run.objects.filter(pk=run.pk).update(state=Run.State.PAUSED)
    assert "partition 0 begins at 5" in command("set", name, "5", "--partition", "0")
    assert "Say which partition" in command("set", name, "5")
    assert "has no partition '7'" in command("set", name, "5", "--partition", "7")
    assert dict(Checkpoint.objects.values_list("partition", "position")) == {"0": "5"}
    assert "partition 0, partition 1 begins with the oldest" in command("reset", name)
    assert dict(Checkpoint.objects.values_list("partition", "position")) == {"0": "", "1": ""}


def test_a_position_waits_for_who_is_still_at_it_and_fences_off_who_died(ann: World) -> None:
    sync = ann.stream()
    run = ann.kept(sync)
    carried(run, process(), "0", fence=3)
    Sync.objects.filter(pk=sync.pk).update(enabled=False)
    assert "still finishing" in command("reset", str(sync.pk))
    run.parts.update(lease_until="2026-01-01T00:00:00Z")
    assert "begins with the oldest" in command("reset", str(sync.pk))
    part = run.parts.get(partition="0")
    assert (part.state, part.fence) == ("queued", 4)


def test_a_sync_of_records_has_no_partitions(ann: World) -> None:
    sync = Sync.objects.create(name="S", connection=ann.log, dataset="test.state", object_type="plain", direction="pull")
    assert "is no log" in command("reset", str(sync.pk), "--partition", "0")


def test_positions_are_moved_on_the_page_with_permission(client: Client, ann: World) -> None:
    sync = ann.stream()
    ann.kept(sync)
    assert "Pause it, or switch it off, to set a position." in text(client, "syncline_sync_change", sync.pk)
    do(client, sync, "pause")
    assert "partition 1 begins at 42" in do(client, sync, "set-position", partition="1", moment="42")
    assert "partition 0 begins with the oldest" in do(client, sync, "reset-position", partition="0")
    ann.owner.user_permissions.clear()
    assert "You may not move positions" in do(client, sync, "set-position", partition="1", moment="7")
    assert dict(Checkpoint.objects.values_list("partition", "position")) == {"0": "", "1": "42"}


def test_an_event_tells_what_each_sync_did_with_it(client: Client, ann: World) -> None:
    sync, event = ann.relay(), ann.event("c-9")
    ann.outgoing(sync, event, "published", remote_id="2:345")
    other = ann.relay()
    ann.outgoing(other, event, "refused", code="too_long", reason="It is too large for the topic.")
    shown = text(client, "syncline_inboxevent_change", event.pk)
    assert "published seats 2:345" in shown
    assert "refused It is too large for the topic." in shown
    listed = client.get(reverse("admin:syncline_outgoing_changelist") + "?state__exact=refused").content.decode()
    assert "It is too large for the topic." in listed
    assert "2:345" not in listed


def test_an_event_hides_what_syncs_of_others_did_with_it(client: Client, ann: World) -> None:
    bob, event = World("bob"), ann.event("c-9")
    Grant.objects.create(connection=ann.vendor, user=bob.owner, may_run=True)
    theirs = ann.outgoing(bob.relay(source=ann.vendor), event, "published", remote_id="2:345")
    assert "2:345" not in text(client, "syncline_inboxevent_change", event.pk)
    assert "bobs-" not in client.get(reverse("admin:syncline_outgoing_changelist")).content.decode()
    assert client.get(reverse("admin:syncline_outgoing_change", args=[theirs.pk])).status_code in {302, 404}
    client.force_login(bob.owner)
    Grant.objects.all().delete()
    assert "key not shown" in text(client, "syncline_outgoing_changelist")
    asked = reverse("admin:syncline_outgoing_changelist") + "?q=c-9"
    found = f"event {event.pk}"
    assert found not in client.get(asked).content.decode(), "a key that is found is a key that is told"
    client.force_login(ann.owner)
    ann.outgoing(ann.relay(), event)
    assert found in client.get(asked).content.decode()


def test_a_record_tells_which_messages_changed_it(client: Client, ann: World) -> None:
    sync = ann.stream()
    run = ann.kept(sync)
    customer = User.objects.create_user("c-1")
    for place, status in (("0:1", "created"), ("0:9", "updated")):
        Incoming.objects.create(
            sync_id=sync.pk, run_id=run.pk, remote_id=place, message_id=f"7:{place}", local_key=str(customer.pk), status=status
        )
    ann.owner.user_permissions.add(*permissions("change_user"))
    shown = text(client, "auth_user_change", customer.pk)
    assert shown.index("updated 7:0:9 seats 0:9") < shown.index("created 7:0:1 seats 0:1")
    assert "Where did this record go?" not in shown
    client.force_login(staff("carl", "change_user"))
    assert "7:0:9" not in text(client, "auth_user_change", customer.pk)


def permissions(*names: str) -> list[Permission]:
    return list(Permission.objects.filter(codename__in=names))
