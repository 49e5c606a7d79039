"""Mirror mode: what left the sync is removed there by its policy, and a person is asked before much of it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.contract import Change, Code, ConfigError, ObjectType, Op, PushResult, RecordError, Retryable, Status
from syncline.ledger.models import Entry, Link
from syncline.outbox import watch
from syncline.runs import changes, claims, execute, removals
from syncline.runs.execute import work
from syncline.runs.models import PlanRow, Run, RunPart
from syncline.runs.push import sender
from syncline.runs.start import push_keys
from syncline.syncs import publish
from syncline.syncs.engine import MappingInvalid
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, installed  # noqa: E402
from pushing.vendor import Vendor, answering, lost_answer, lost_request, raising  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
State = Link.State
Policy = Sync.DeletePolicy
REMOVALS = (Op.ARCHIVE, Op.DELETE)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.01)
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)
        Sync.objects.update(enabled=False)
        assert watch.reconcile()


def mirrored(lab: Lab, people: int = 6, policy: str = Policy.ARCHIVE, **options: Any) -> Sync:
    """A mirror of some people, delivered."""
    lab.people(people)
    sync = lab.sync(mode="mirror", delete_policy=policy, **options)
    run = lab.run(sync)
    assert (run.state, run.created) == (Run.State.SUCCEEDED, people), run.reason
    assert run.basis
    lab.vendor.pushes.clear()
    return sync


def leave(*numbers: int) -> list[str]:
    """These people go; gives their keys."""
    gone = User.objects.filter(username__in=[f"u{n:05}" for n in numbers])
    keys = [str(pk) for pk in gone.order_by("pk").values_list("pk", flat=True)]
    gone.delete()
    return keys


def names(lab: Lab) -> set[str]:
    return {str(name) for name in lab.vendor.by_name()}


def link(key: str) -> Link:
    return Link.objects.get(local_key=key)


class TestPolicies:
    def test_ignore_leaves_everything_as_it_is(self, lab: Lab) -> None:
        lab.people(3)
        sync = lab.sync(mode="mirror", delete_policy=Policy.IGNORE)
        lab.run(sync)
        leave(1)
        run = lab.run(sync)
        assert (run.state, run.removed, run.withheld) == (Run.State.SUCCEEDED, 0, 0)
        assert len(lab.vendor.live()) == 3

    @pytest.mark.parametrize(("policy", "op"), [(Policy.ARCHIVE, Op.ARCHIVE), (Policy.DELETE, Op.DELETE)])
    def test_archive_and_delete(self, lab: Lab, policy: str, op: Op) -> None:
        sync = mirrored(lab, policy=policy)
        (key,) = leave(2)
        remote = link(key).remote_id
        run = lab.run(sync)
        assert (run.state, run.removed, run.unchanged) == (Run.State.SUCCEEDED, 1, 5)
        assert lab.vendor.sent(op) == {key: 1}
        assert len(lab.vendor.live()) == 5
        after = link(key)
        assert (after.remote_id, after.state, after.code, after.delivered) == (None, State.EXCLUDED, "removed", {})
        entry = Entry.objects.filter(link_id=after.pk).latest("id")
        assert (entry.op, entry.status, entry.remote_id) == (op, Status.UPDATED, remote)
        assert str(remote) in entry.message
        assert lab.run(sync).removed == 0

    @override_settings(SYNCLINE_REMOVALS_COUNT=100)
    def test_what_comes_back_after_it_was_listed_is_not_removed(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """Many are removed lot by lot, while others go on working and pushing."""
        sync = mirrored(lab, people=30)
        leaving = User.objects.filter(username__gte="u00010", is_staff=False)
        leaving.update(is_staff=True)
        came: list[User] = []

        def meanwhile(vendor: Vendor, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
            monkeypatch.undo()
            gone = User.objects.filter(username__gte="u00010", is_staff=True).exclude(pk__in=[int(c.local_key) for c in changes])
            came.append(gone.latest("pk"))
            User.objects.filter(pk=came[0].pk).update(is_staff=False, last_name="Back")
            push_keys(sync, [str(came[0].pk)])
            urgent = claims.claim("another worker", urgent=True)
            assert urgent
            execute.execute(urgent)
            return vendor.push(object_type, changes)

        monkeypatch.setattr(execute, "EXPRESS_SECONDS", 60.0)
        monkeypatch.setattr(Vendor, "push", meanwhile)
        run = lab.run(sync)
        assert (run.state, run.removed) == (Run.State.SUCCEEDED, 19), run.reason
        assert link(str(came[0].pk)).state == State.DELIVERED
        assert lab.vendor.by_name()[came[0].first_name].properties["city"] == "Back"

    def test_clear_empties_what_we_delivered_and_nothing_else(self, lab: Lab) -> None:
        lab.people(6)
        sync = lab.sync({"name": {}, "email": {}, "city": {"write_mode": "if_empty"}}, mode="mirror", delete_policy=Policy.CLEAR)
        lab.run(sync)
        lab.vendor.pushes.clear()
        (key,) = leave(2)
        held = lab.vendor.tables["people"][str(link(key).remote_id)]
        held.properties["phone"] = "of theirs"
        run = lab.run(sync)
        assert run.removed == 1
        assert (held.properties["name"], held.properties["email"]) == (None, None)
        assert (held.properties["city"], held.properties["phone"]) == ("City 2", "of theirs")
        assert (link(key).remote_id, link(key).code) == (held.id, "cleared")
        again = lab.run(sync)
        assert (again.removed, again.state) == (0, Run.State.SUCCEEDED)
        assert lab.vendor.sent() == {key: 1}

    def test_a_policy_that_is_not_offered_cannot_be_published(self, lab: Lab) -> None:
        lab.vendor.removing = (Op.ARCHIVE,)
        with pytest.raises(MappingInvalid, match="offers no delete"):
            lab.sync(mode="mirror", delete_policy=Policy.DELETE)

    def test_one_that_is_not_offered_any_more_fails_the_run(self, lab: Lab) -> None:
        sync = mirrored(lab, policy=Policy.DELETE)
        lab.vendor.removing = ()
        catalog.refresh(sync.connection)
        leave(2)
        run = lab.run(sync)
        assert run.state == Run.State.FAILED
        assert "offers no delete" in run.reason
        assert len(lab.vendor.live()) == 6


class TestWhatLeft:
    def test_the_filter(self, lab: Lab) -> None:
        sync = mirrored(lab, filter='city != "gone"')
        User.objects.filter(username="u00002").update(last_name="gone")
        run = lab.run(sync)
        assert (run.removed, run.excluded, run.state) == (1, 1, Run.State.SUCCEEDED)
        assert "Name 2" not in names(lab)

    def test_a_filter_that_failed_keeps_the_record(self, lab: Lab) -> None:
        sync = mirrored(lab, filter='city.startsWith("City") || int(city) > 0')
        User.objects.filter(username="u00002").update(last_name="nowhere")
        run = lab.run(sync)
        assert (run.removed, run.withheld, run.rejected) == (0, 0, 1)
        assert len(lab.vendor.live()) == 6
        assert not lab.vendor.sent(*REMOVALS)

    def test_the_segment(self, lab: Lab) -> None:
        sync = mirrored(lab, segment="active")
        User.objects.filter(username="u00003").update(is_active=False)
        assert lab.run(sync).removed == 1
        assert "Name 3" not in names(lab)

    def test_adopted_records_too_and_others_never(self, lab: Lab) -> None:
        lab.vendor.seed("people", name="Theirs", email="p1@example.org")
        lab.vendor.seed("people", name="Stranger", email="stranger@example.org")
        lab.people(6)
        sync = lab.sync(mode="mirror", delete_policy=Policy.ARCHIVE)
        assert lab.run(sync).adopted == 1
        leave(1)
        assert lab.run(sync).removed == 1
        assert names(lab) == {"Stranger", *(f"Name {n}" for n in (0, 2, 3, 4, 5))}

    def test_what_is_gone_there_already_counts_as_removed(self, lab: Lab) -> None:
        sync = mirrored(lab)
        (key,) = leave(2)
        lab.vendor.delete("people", str(link(key).remote_id))
        run = lab.run(sync)
        assert (run.removed, run.state) == (1, Run.State.SUCCEEDED)
        assert link(key).remote_id is None

    def test_what_comes_back_is_created_again(self, lab: Lab) -> None:
        sync = mirrored(lab, segment="active")
        someone = User.objects.filter(username="u00003")
        someone.update(is_active=False)
        lab.run(sync)
        someone.update(is_active=True)
        run = lab.run(sync)
        assert (run.created, run.gone) == (1, 0)
        assert "Name 3" in names(lab)
        assert len(lab.vendor.live()) == 6

    def test_what_comes_back_after_clearing_is_filled_again(self, lab: Lab) -> None:
        sync = mirrored(lab, segment="active", policy=Policy.CLEAR)
        someone = User.objects.filter(username="u00003")
        someone.update(is_active=False)
        lab.run(sync)
        assert "Name 3" not in names(lab)
        someone.update(is_active=True)
        assert lab.run(sync).updated == 1
        assert "Name 3" in names(lab)

    def test_a_sync_beside_it_that_delivers_the_same_forbids_it(self, lab: Lab) -> None:
        sync = mirrored(lab)
        other = lab.sync(segment="active")
        leave(2)
        run = lab.run(sync)
        assert run.state == Run.State.FAILED
        assert other.name in run.reason
        with pytest.raises(MappingInvalid, match="delivers the same dataset"):
            publish.publish(sync, lab.owner)


class TestUncertain:
    def test_a_removal_without_an_answer_is_sent_again(self, lab: Lab) -> None:
        sync = mirrored(lab)
        (key,) = leave(2)
        lab.vendor.faults = [lost_answer]
        run = lab.run(sync)
        assert (run.removed, run.state) == (1, Run.State.SUCCEEDED)
        assert lab.vendor.sent(Op.ARCHIVE) == {key: 2}

    def test_one_that_never_arrived_too(self, lab: Lab) -> None:
        sync = mirrored(lab)
        leave(2)
        lab.vendor.faults = [lost_request] * 4
        assert lab.run(sync).removed == 1
        assert len(lab.vendor.live()) == 5

    def test_a_system_out_of_reach_costs_time_only(self, lab: Lab) -> None:
        sync = mirrored(lab)
        leave(2)
        lab.vendor.faults = [raising(Retryable("down", after=0.0))] * 2
        assert lab.run(sync).removed == 1

    def test_a_refused_removal_is_a_problem_of_the_record(self, lab: Lab) -> None:
        sync = mirrored(lab)
        (key, _) = leave(2, 3)

        def refuse(told: list[PushResult]) -> list[PushResult]:
            error = RecordError(Code.OTHER, "It is in use.")
            return [PushResult(r.local_key, Status.REJECTED, error=error) if r.local_key == key else r for r in told]

        lab.vendor.faults = [answering(refuse)]
        run = lab.run(sync)
        assert (run.removed, run.rejected, run.state) == (1, 1, Run.State.PROBLEMS)
        assert (link(key).state, link(key).reason) == (State.REJECTED, "It is in use.")

    def test_a_record_that_comes_back_while_its_removal_is_in_doubt_is_not_lost(self, lab: Lab) -> None:
        sync = mirrored(lab, segment="active")
        someone = User.objects.get(username="u00003")
        User.objects.filter(pk=someone.pk).update(is_active=False)
        lab.run(sync)
        # the archive was carried out, but the worker died before it could say so
        archived = next(h for h in lab.vendor.tables["people"].values() if h.properties["name"] == "Name 3")
        Link.objects.filter(local_key=str(someone.pk)).update(remote_id=archived.id, state="uncertain", uncertain_op="archive")
        User.objects.filter(pk=someone.pk).update(is_active=True)
        run = lab.run(sync)
        assert (run.created, run.gone) == (1, 0), run.reason
        assert len([h for h in lab.vendor.live() if h.properties["name"] == "Name 3"]) == 1


class TestIncremental:
    def watched(self, lab: Lab, **options: Any) -> Sync:
        sync = mirrored(lab, changes_cron="*/5 * * * *", **options)
        assert watch.reconcile()
        changes.push(sync)
        finish(sync)
        return sync

    def test_a_deleted_record_is_removed_without_a_full_pass(self, lab: Lab) -> None:
        sync = self.watched(lab)
        (key,) = leave(2)
        changes.push(sync)
        run = finish(sync)
        assert (run.kind, run.removed, run.state) == (Run.Kind.CHANGES, 1, Run.State.SUCCEEDED)
        assert lab.vendor.sent() == {key: 1}

    def test_one_that_is_filtered_out_now_too(self, lab: Lab) -> None:
        sync = self.watched(lab, filter='city != "gone"')
        User.objects.filter(username="u00002").update(last_name="gone")
        changes.push(sync)
        assert finish(sync).removed == 1

    def test_what_is_not_among_the_keys_stays(self, lab: Lab) -> None:
        sync = self.watched(lab)
        first, second = leave(2, 3)
        from syncline.outbox.models import OutboxKey

        OutboxKey.objects.filter(local_key=second).delete()
        changes.push(sync)
        assert finish(sync).removed == 1
        assert lab.vendor.sent() == {first: 1}

    @override_settings(SYNCLINE_REMOVALS_COUNT=2, SYNCLINE_REMOVALS_SHARE=0.1)
    def test_slice_by_slice_is_not_let_through(self, lab: Lab) -> None:
        sync = self.watched(lab)
        done = []
        for number in range(4):
            leave(number)
            changes.push(sync)
            run = finish(sync)
            done.append((run.removed, run.withheld))
        assert done == [(1, 0), (1, 0), (0, 1), (0, 1)]
        assert len(lab.vendor.live()) == 4

    def test_keys_that_join_a_full_pass_after_its_removals_are_looked_at(self, lab: Lab) -> None:
        sync = self.watched(lab)
        assert sync.current is not None
        run = Run.objects.create(sync=sync, version=sync.current, kind=Run.Kind.FULL)
        RunPart.objects.create(run=run, kind=RunPart.Kind.LEAVING, state=RunPart.State.DONE)
        (key,) = leave(4)
        changes.push(sync)
        finish(sync)
        run.refresh_from_db()
        assert run.removed == 1
        assert lab.vendor.sent(Op.ARCHIVE) == {key: 1}


class TestGuard:
    @override_settings(SYNCLINE_REMOVALS_COUNT=2, SYNCLINE_REMOVALS_SHARE=0.4)
    def test_few_records_pass_and_so_does_a_small_share(self, lab: Lab) -> None:
        sync = mirrored(lab, people=10)
        leave(0, 1)
        assert lab.run(sync).removed == 2
        leave(2, 3)
        assert lab.run(sync).removed == 2, "4 of 10 are no more than 40 %"
        leave(4)
        run = lab.run(sync)
        assert (run.removed, run.withheld, run.state) == (0, 1, Run.State.PROBLEMS)
        assert "withheld" in run.reason
        group = lab.groups(run)["withheld"]
        assert "5 of 10" in group.message
        assert group.next_step
        assert not lab.vendor.sent(Op.ARCHIVE)[str(link_of("Name 4", lab))]

    def test_an_empty_dataset_removes_nothing(self, lab: Lab) -> None:
        sync = mirrored(lab, people=3)
        leave(0, 1, 2)
        run = lab.run(sync)
        assert (run.removed, run.withheld) == (0, 3)
        assert "no record at all" in lab.groups(run)["withheld"].message

    def test_a_changed_filter_waits_until_a_person_approves_and_holds_then(self, lab: Lab) -> None:
        sync = mirrored(lab)
        Sync.objects.filter(pk=sync.pk).update(filter='city != "City 1"')
        sync.refresh_from_db()
        publish.publish(sync, lab.owner)
        run = lab.run(sync)
        assert (run.removed, run.withheld) == (0, 1)
        assert lab.run(sync).withheld == 1, "waiting for another run changes nothing"
        last = Run.objects.latest("pk")
        approved = removals.approve(last, lab.owner)
        finish(sync)
        approved.refresh_from_db()
        assert (approved.kind, approved.removed, approved.approved_by) == (Run.Kind.REMOVAL, 1, lab.owner)
        assert "Name 1" not in names(lab)
        User.objects.filter(username="u00002").update(last_name="City 1")
        assert lab.run(sync).removed == 1, "from then on this is the filter"

    def test_the_owner_and_the_policy_count_as_well(self, lab: Lab) -> None:
        sync = mirrored(lab)
        leave(1)
        Sync.objects.update(delete_policy=Policy.DELETE)
        assert lab.run(Sync.objects.get(pk=sync.pk)).withheld == 1
        Sync.objects.update(delete_policy=Policy.ARCHIVE)
        other = User.objects.create(username="boss", is_superuser=True, is_staff=True)
        sync.connection.owner = other
        sync.connection.save()
        assert lab.run(Sync.objects.get(pk=sync.pk)).withheld == 1

    def test_a_sync_that_did_not_mirror_before_asks_first(self, lab: Lab) -> None:
        lab.people(4)
        sync = lab.sync(delete_policy=Policy.ARCHIVE)
        lab.run(sync)
        leave(1)
        Sync.objects.update(mode="mirror")
        sync.refresh_from_db()
        publish.publish(sync, lab.owner)
        run = lab.run(sync)
        assert (run.removed, run.withheld) == (0, 1)

    @override_settings(SYNCLINE_REMOVALS_COUNT=2)
    def test_approval_removes_exactly_what_was_listed_and_still_leaves(self, lab: Lab) -> None:
        sync = mirrored(lab, people=6, segment="active")
        inactive = User.objects.filter(username__in=[f"u{n:05}" for n in range(6)])
        inactive.update(is_active=False)
        run = lab.run(sync)
        assert run.withheld == 6
        User.objects.filter(username="u00002").update(is_active=True)
        lab.people(1, start=9)
        lab.run(sync, kind=Run.Kind.FULL)
        leave(9)
        approved = removals.approve(run, lab.owner)
        finish(sync)
        approved.refresh_from_db()
        assert (approved.removed, approved.state) == (5, Run.State.SUCCEEDED)
        assert names(lab) == {"Name 2", "Name 9"}
        states = PlanRow.objects.filter(run=run).values_list("state", flat=True)
        assert sorted(states) == ["applied"] * 5 + ["stale"]
        with pytest.raises(ConfigError, match="withholds no removals"):
            removals.approve(run, lab.owner)

    @override_settings(SYNCLINE_REMOVALS_COUNT=0, SYNCLINE_REMOVALS_SHARE=0.0)
    def test_approval_keeps_a_record_whose_filter_fails_by_now(self, lab: Lab) -> None:
        sync = mirrored(lab, filter='city.startsWith("City") || int(city) > 0')
        someone = User.objects.filter(username="u00002")
        someone.update(last_name="0")
        run = lab.run(sync)
        assert (run.excluded, run.withheld) == (1, 1)
        someone.update(last_name="nowhere")
        approved = removals.approve(run, lab.owner)
        finish(sync)
        approved.refresh_from_db()
        assert approved.removed == 0
        assert len(lab.vendor.live()) == 6

    def test_who_may_approve(self, lab: Lab) -> None:
        sync = mirrored(lab, people=3)
        leave(0, 1, 2)
        run = lab.run(sync)
        ann = User.objects.create(username="ann", is_staff=True)
        with pytest.raises(ConfigError, match="may not let removals pass"):
            removals.approve(run, ann)
        ann.user_permissions.add(Permission.objects.get(codename="approve_removal"))
        ann = User.objects.get(pk=ann.pk)
        with pytest.raises(ConfigError, match="may not let removals pass"):
            removals.approve(run, ann)
        sync.connection.grants.create(user=ann, may_run=True)
        assert removals.may_approve(ann, run)


def finish(sync: Sync) -> Run:
    while work(10.0):
        pass
    return Run.objects.filter(sync=sync).latest("pk")


def link_of(name: str, lab: Lab) -> str:
    held = next(h for h in lab.vendor.tables["people"].values() if h.properties.get("name") == name)
    return Link.objects.get(remote_id=held.id).local_key
