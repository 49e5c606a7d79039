"""Messages of a remote log are taken in: each exactly once in its effect, whatever breaks, and what cannot be is kept whole."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.db.models.functions import Now
from syncline.catalog.models import CatalogChange
from syncline.contract import Change, Code, Message, PushResult, RecordError, Retryable, Status
from syncline.ledger.messages import DeadLetter, Incoming
from syncline.ledger.models import ErrorGroup, Link
from syncline.ledger.pulled import Checkpoint
from syncline.runs import claims
from syncline.runs.models import Run, RunPart
from syncline.runs.pull import pages
from syncline.runs.stream import claiming, keeping, receive
from syncline.runs.stream.job import StreamJob
from syncline.syncs.models import Sync
from syncline.syncs.publish import publish

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from streaming.topic import DEAD, Logs  # noqa: E402
from streaming.world import Register, World, opened  # noqa: E402

position = receive.position

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(db: None) -> Iterator[World]:
    with opened(SYNCLINE_STREAM_LEASE_SECONDS=1.0) as made:
        yield made


def positions() -> dict[str, str]:
    return dict(Checkpoint.objects.values_list("partition", "position"))


def test_messages_become_records_with_a_position_and_an_entry_each_and_no_links(world: World) -> None:
    world.stream()
    for number in range(120):
        world.topics.say("topic", f"k{number}", number + 1, name=f"n{number}")
    with world.going():
        world.until(lambda: len(world.here()) == 120)
        world.until(lambda: sum(int(p) for p in positions().values()) == 120)
    assert Incoming.objects.count() == 120
    assert (world.counted("created"), world.counted("read"), Link.objects.count()) == (120, 120, 0)


def test_it_goes_on_where_it_stood(world: World) -> None:
    world.stream()
    world.topics.say("topic", "a", 1, partition=0, name="one")
    with world.going():
        world.until(lambda: positions().get("0") == "1")
    world.topics.say("topic", "a", 2, partition=0, name="two")
    with world.going():
        world.until(lambda: positions().get("0") == "2")
    assert world.here() == {"a": "two"}
    assert [request.position for request in world.topics.pulls if request.partition == "0"] == [None, "1"]


def test_what_cannot_be_taken_in_is_kept_whole_and_goes_to_the_log_for_such(world: World) -> None:
    world.stream()
    world.topics.say("topic", "a", 1, partition=0, name="refused")
    world.topics.say("topic", "b", 2, partition=0, name="poison")
    world.topics.put("topic", Message("x", "c", 3, body=b"\xff{"), partition=0)
    world.topics.put("topic", Message("y", None, None, body=b""), partition=0)
    world.topics.say("topic", "d", 4, partition=0, name="fine")
    with world.going():
        world.until(lambda: world.here() == {"d": "fine"})
        world.until(lambda: not DeadLetter.objects.filter(published_at=None).exists() and DeadLetter.objects.exists())
    found = {d.remote_id: (d.code, d.reason, bytes(d.body)) for d in DeadLetter.objects.all()}
    assert {place: code for place, (code, _, _) in found.items()} == {
        "0:0": "invalid_value",
        "0:1": "other",
        "0:2": "unreadable",
        "0:3": "tombstone",
    }
    assert found["0:0"][1] == "Nobody is called so."
    assert "broken" not in found["0:1"][1], "an error of ours may quote values"
    assert found["0:2"][2] == b"\xff{"
    letters = [m for log in world.topics.of(DEAD) for m in log]
    assert {m.headers["x-original-place"] for m in letters} == set(found)
    assert len(letters) == 4
    assert sum(ErrorGroup.objects.values_list("count", flat=True)) == 4
    assert world.counted("rejected") == 4


def test_a_sequence_without_room_keeps_no_refused_message_from_being_kept(world: World) -> None:
    world.stream()
    world.topics.say("topic", "a", 2**63, partition=0, name="refused")
    world.topics.say("topic", "b", 1, partition=0, name="fine")
    with world.going():
        world.until(lambda: world.here() == {"b": "fine"})
    assert [(one.remote_id, one.sequence) for one in DeadLetter.objects.all()] == [("0:0", None)]


def test_a_broken_log_for_refused_messages_stops_nothing(world: World) -> None:
    world.stream()

    def broken(_changes: object) -> None:
        from syncline.contract import Permanent

        raise Permanent("There is no such topic.")

    world.topics.before_push = broken
    world.topics.say("topic", "a", 1, partition=0, name="refused")
    world.topics.say("topic", "b", 2, partition=0, name="fine")
    with world.going():
        world.until(lambda: world.here() == {"b": "fine"})
    world.topics.before_push = lambda _changes: None
    with world.going():
        world.until(lambda: not DeadLetter.objects.filter(published_at=None).exists())


def test_what_the_log_for_refused_messages_refuses_is_not_said_to_be_there(world: World) -> None:
    world.stream()
    world.topics.limit = 40
    world.topics.put("topic", Message("x", "c", 3, body=b"\xff" * 50), partition=0)
    world.topics.put("topic", Message("y", "d", 4, body=b"\xff{"), partition=0)
    world.topics.say("topic", "b", 5, partition=0, name="fine")
    with world.going():
        world.until(lambda: world.here() == {"b": "fine"})
        world.until(lambda: DeadLetter.objects.exclude(published_at=None).exists())
    large, small = DeadLetter.objects.order_by("remote_id")
    assert (large.published_at, small.unpublishable) == (None, "")
    assert large.unpublishable == f"{DEAD} refused it: The message is larger than the broker takes."
    assert [one.id for log in world.topics.of(DEAD) for one in log] == ["topic:0:1"]


def test_a_refusal_that_no_column_takes_keeps_no_message_from_being_taken_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_self: object, _topic: str, change: Change) -> PushResult:
        return PushResult(change.local_key, Status.REJECTED, error=RecordError(Code.OTHER, "No \0\ud800."))

    monkeypatch.setattr(Logs, "_one", refused)
    world.stream()
    world.topics.put("topic", Message("x", "c", 3, body=b"\xff"), partition=0)
    world.topics.say("topic", "b", 5, partition=0, name="fine")
    with world.going():
        world.until(lambda: DeadLetter.objects.filter(unpublishable__contains="refused it").exists())
        world.until(lambda: world.here() == {"b": "fine"})
    assert DeadLetter.objects.get().unpublishable == f"{DEAD} refused it: No \ufffd?."
    assert not RunPart.objects.filter(failing_since__isnull=False).exists()


def test_answers_about_other_letters_settle_none_and_are_not_asked_for_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def mistaken(_self: object, _topic: str, change: Change) -> PushResult:
        asked.append(change.local_key)
        return PushResult(str(int(change.local_key) + 1000), Status.CREATED, "0:0")

    monkeypatch.setattr(Logs, "_one", mistaken)
    world.stream()
    world.topics.put("topic", Message("x", "c", 3, body=b"\xff"), partition=0)
    world.topics.say("topic", "b", 5, partition=0, name="fine")
    with world.going():
        world.until(lambda: world.here() == {"b": "fine"})
        world.topics.say("topic", "d", 6, partition=0, name="later")
        world.until(lambda: "d" in world.here())
    assert (DeadLetter.objects.get().published_at, len(asked)) == (None, 1)


def test_two_letters_from_one_place_of_a_log_made_anew_are_both_kept(world: World) -> None:
    world.stream()
    world.topics.put("topic", Message("x", "c", 3, body=b"\xff1"), partition=0)
    with world.going():
        world.until(lambda: positions().get("0") == "1")
    world.topics.of("topic")[0].clear()
    world.topics.put("topic", Message("y", "d", 1, body=b"\xff2"), partition=0)
    Checkpoint.objects.filter(partition="0").update(position="0")
    with world.going():
        world.until(lambda: DeadLetter.objects.count() == 2)
    first, second = DeadLetter.objects.order_by("pk")
    assert (first.remote_id, bytes(first.body)) == (f"0:0#{first.pk}", b"\xff1")
    assert (second.remote_id, bytes(second.body)) == ("0:0", b"\xff2")


def test_a_connector_that_hangs_does_not_keep_its_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "SILENCE", 0.5)
    monkeypatch.setattr(pages, "ENDS_WITHIN", 0.1)
    world.stream()
    world.topics.hangs = freed = threading.Event()
    world.topics.say("topic", "a", 1, partition=0, name="one")
    kept: list[str] = []

    def noted(job: StreamJob) -> str:
        kept.append(threading.current_thread().name)
        return position(job)

    monkeypatch.setattr(receive, "position", noted)
    with world.going():
        world.until(lambda: RunPart.objects.filter(partition="0", last_error__contains="may hang").exists())
        world.topics.hangs = None
        world.until(lambda: world.here() == {"a": "one"})
    freed.set()
    assert kept
    assert "pull" not in kept, "a thread that may hang for ever has no connection to the database to take along"


def test_an_older_sequence_changes_nothing(world: World) -> None:
    world.stream()
    world.topics.say("topic", "a", 5, partition=0, name="new")
    world.topics.say("topic", "a", 4, partition=0, name="old")
    world.topics.say("topic", "a", 5, partition=0, name="again")
    with world.going():
        world.until(lambda: positions().get("0") == "3")
    assert world.here() == {"a": "new"}
    assert (world.counted("unchanged"), Incoming.objects.count()) == (2, 1)


def test_nobody_else_takes_in_a_partition_while_its_lease_lasts_and_afterwards_somebody_does(world: World) -> None:
    world.stream()
    world.keep()
    first = claiming.claim("first")
    second = claiming.claim("second")
    assert first is not None
    assert second is not None
    assert first.part.partition != second.part.partition
    assert claiming.claim("third") is None
    RunPart.objects.filter(pk=first.part.pk).update(lease_until=Now() - timedelta(seconds=1))
    third = claiming.claim("third")
    assert third is not None
    assert third.part.pk == first.part.pk
    assert not claims.finish(first.fence), "the one before has lost it"


def test_who_lost_the_partition_stores_nothing(world: World) -> None:
    sync = world.stream()
    world.topics.partitions = 1
    world.begin()
    world.until(lambda: bool(world.topics.pulls))
    RunPart.objects.filter(run__sync=sync).update(fence=1000)
    world.topics.say("topic", "a", 1, partition=0, name="one")
    world.until(lambda: not any(thread.is_alive() for thread, _, _ in world._threads))
    assert (world.here(), positions()) == ({}, {})


def test_ordinary_workers_leave_continuous_parts_alone_and_never_give_them_up(world: World) -> None:
    world.stream()
    world.keep()
    RunPart.objects.update(attempt=500)
    assert claims.claim("worker") is None
    assert claims.bury() == []
    assert claiming.claim("stream") is not None


def test_a_new_mapping_a_day_and_switching_off_end_the_run(world: World) -> None:
    sync = world.stream()
    world.keep()
    first = world.run()
    sync.rules.filter(target="name").delete()
    publish(sync, world.owner)
    world.keep()
    second = world.run()
    assert (second.pk != first.pk, second.version_id) == (True, sync.current_id)
    Run.objects.filter(pk=second.pk).update(created_at=Now() - keeping.ROLLED_AFTER - timedelta(hours=1))
    world.keep()
    third = world.run()
    assert third.pk != second.pk
    sync.enabled = False
    sync.save()
    world.keep()
    assert not Run.objects.filter(state__in=Run.ACTIVE).exists()
    assert set(Run.objects.values_list("state", flat=True)) == {"succeeded"}


def test_who_may_not_write_any_more_goes_on_no_longer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = world.stream()
    world.keep()
    monkeypatch.setattr(Register, "info", replace(Register.info, write_permissions=("auth.change_user",)))
    world.owner.is_superuser = False
    world.owner.save()
    world.keep()
    sync.refresh_from_db()
    assert "may not change test.register" in (sync.blocked_reason or "")
    assert not Run.objects.filter(state__in=Run.ACTIVE).exists()


def test_what_changed_in_the_remote_log_ends_the_run_and_what_is_new_there_does_not(world: World) -> None:
    world.stream()
    world.keep()
    first = world.run()
    for key, aspect in (("topic", "added"), ("another", "kind")):
        CatalogChange.objects.create(connection=world.broker, object_type=key, property="name", aspect=aspect)
    world.keep()
    assert world.run() == first
    CatalogChange.objects.create(connection=world.broker, object_type="topic", property="name", aspect="kind")
    world.keep()
    second = world.run()
    world.keep()
    assert (world.run(), second == first) == (second, False)
    CatalogChange.objects.update(settled_at=Now())
    world.keep()
    assert world.run() != second


def test_a_run_that_refused_something_says_so_when_it_ends(world: World) -> None:
    sync = world.stream()
    world.topics.say("topic", "a", 1, partition=0, name="refused")
    with world.going():
        world.until(DeadLetter.objects.exists)
    keeping.end(world.run())
    ended = Run.objects.get(sync=sync)
    assert (ended.state, ended.rejected) == (Run.State.PROBLEMS, 1)


def test_partitions_that_are_added_get_their_parts(world: World) -> None:
    world.stream()
    world.keep()
    world.topics.partitions = 4
    world.topics.held.clear()
    world.keep()
    assert sorted(RunPart.objects.values_list("partition", flat=True)) == ["0", "1", "2", "3"]


def test_a_gap_is_told(world: World) -> None:
    sync = world.stream()
    world.topics.partitions, world.topics.gap = 1, "Messages 3 to 9 were removed before they were read."
    with world.going():
        world.until(ErrorGroup.objects.exists)
    keeping.end(world.run())
    assert Run.objects.get(sync=sync).state == Run.State.PROBLEMS
    assert ErrorGroup.objects.get().message.startswith("Messages 3 to 9")


def test_while_paused_nothing_is_taken_in(world: World) -> None:
    from syncline.runs.start import pause, resume

    world.stream()
    with world.going():
        pause(world.run())
        world.until(lambda: not RunPart.objects.filter(state="leased").exists())
    world.topics.say("topic", "a", 1, name="one")
    assert claiming.claim("one") is None
    resume(world.run())
    with world.going():
        world.until(lambda: world.here() == {"a": "one"})


def test_processes_share_what_there_is() -> None:
    one, two = (claiming.Process(name, "host", 1) for name in ("one", "two"))
    claiming.beat(one)
    claiming.beat(two)
    assert claiming.share() == 0


def test_the_share_is_rounded_up_and_grows_when_a_process_leaves(world: World) -> None:
    world.topics.partitions = 3
    world.stream()
    world.keep()
    one, two = (claiming.Process(name, "host", 1) for name in ("one", "two"))
    claiming.beat(one)
    claiming.beat(two)
    assert claiming.share() == 2
    claiming.leave(two)
    assert claiming.share() == 3


def test_a_system_that_does_not_answer_keeps_nobody_but_its_own_waiting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = [world.stream() for _ in range(4)]
    asked: list[int] = []

    def parts(sync: Sync) -> list[tuple[str, str]]:
        asked.append(sync.pk)
        if sync.pk != syncs[-1].pk:
            time.sleep(0.06)
            raise Retryable("The broker cannot be reached.")
        return [("stream", "0")]

    monkeypatch.setattr(keeping, "_parts", parts)
    monkeypatch.setattr(keeping, "SLOW", 0.05)
    keeper = keeping.Keeper(every=0.0)
    keeper.look()
    assert sorted(asked) == [one.pk for one in syncs]
    slow: list[int] = []
    for _ in range(3):
        asked.clear()
        keeper.look()
        assert (asked[0], len(asked)) == (syncs[-1].pk, 2), "first the one that answers, then one of the others"
        slow.append(asked[1])
    assert sorted(slow) == [one.pk for one in syncs[:3]], "each in its turn"
    monkeypatch.setattr(keeping, "SLOW", 5.0)
    for _ in range(3):
        keeper.look()
    asked.clear()
    keeper.look()
    assert len(asked) == 4
