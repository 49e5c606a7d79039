"""Plans: what a push would do, looked up and stored, never sent; and exactly that applied."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from syncline import registry
from syncline.contract import ConfigError, ConnectorFault, Retryable, UnsupportedFeature
from syncline.ledger.models import Entry, Link
from syncline.runs import claims, execute
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan import store
from syncline.runs.plan.looking import read_only
from syncline.runs.plan.plan import Planner
from syncline.runs.plan.start import start_apply
from syncline.runs.push import results, sender
from syncline.runs.push.work import Sent, Work
from syncline.runs.start import AlreadyRunning, cancel

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, counts, installed  # noqa: E402
from pushing.vendor import Vendor, lost_answer, raising  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(results, "UNKNOWN_RETRY", 0.05)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(execute, "backoff", lambda _attempt: 0.05)
    vendor = Vendor()
    with installed(vendor):
        yield Lab(vendor)


def rows(plan: Run) -> dict[str, PlanRow]:
    return {row.local_key: row for row in PlanRow.objects.filter(run=plan)}


def test_a_plan_says_what_a_push_would_do_and_writes_nothing(lab: Lab) -> None:
    here = lab.people(6)
    sync = lab.sync()
    known = lab.vendor.seed("people", name="Another", email=here[0].email, city="Oslo")
    before = {held.id: dict(held.properties) for held in lab.vendor.live()}

    plan = lab.run(sync, Run.Kind.PLAN)

    assert (plan.state, plan.reason) == ("succeeded", "Planned: 5 to create, 1 to adopt.")
    assert counts(plan) == {"created": 5, "adopted": 1}
    found = rows(plan)
    assert found[str(here[0].pk)].remote_id == known
    assert found[str(here[0].pk)].changes["name"] == ["Another", "Name 0"]
    assert found[str(here[1].pk)].changes == {
        "name": [None, "Name 1"], "email": [None, "p1@example.org"], "city": [None, "City 1"]
    }  # fmt: skip
    assert lab.vendor.pushes == []
    assert {held.id: dict(held.properties) for held in lab.vendor.live()} == before
    assert not Link.objects.exists()
    assert not Entry.objects.exists()


def finish(lab: Lab, run: Run, seconds: float = 30.0) -> Run:
    end = time.monotonic() + seconds
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        execute.work(seconds, run.pk)
        assert time.monotonic() < end, "The run does not come to its end."
        time.sleep(0.02)
    run.refresh_from_db()
    return run


def test_an_application_writes_exactly_what_was_planned(lab: Lab) -> None:
    here = lab.people(4)
    sync = lab.sync()
    known = lab.vendor.seed("people", name="Another", email=here[0].email, city="Oslo", tags=("red",))
    plan = lab.run(sync, Run.Kind.PLAN)

    done = finish(lab, start_apply(plan, user=lab.owner))

    assert (done.state, done.reason, counts(done), done.read) == ("succeeded", "", {"created": 3, "adopted": 1}, 4)
    assert (done.plan, done.approved_by) == (plan, lab.owner)
    assert lab.vendor.tables["people"][known].properties["name"] == "Name 0"
    assert lab.vendor.sent() == dict.fromkeys((str(u.pk) for u in here), 1)
    assert {row.state for row in rows(plan).values()} == {"applied"}
    again = lab.run(sync)
    assert (again.state, counts(again), len(lab.vendor.pushes)) == ("succeeded", {"unchanged": 4}, 2)


def test_what_changed_there_since_is_refused_and_named(lab: Lab) -> None:
    here = lab.people(6)
    sync = lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Bergen")
    plan = lab.run(sync, Run.Kind.PLAN)
    assert counts(plan) == {"updated": 6}
    held = lab.vendor.by_name()
    held["Name 0"].properties["city"] = "Oslo"
    held["Name 1"].properties["name"] = "Somebody"
    held["Name 2"].properties["city"] = "Bergen"  # as planned: no change that anybody minds
    lab.vendor.delete("people", held["Name 3"].id)
    before = len(lab.vendor.pushes)

    done = finish(lab, start_apply(plan, user=lab.owner))

    found = rows(plan)
    assert [found[str(u.pk)].state for u in here] == ["stale", "stale", "applied", "stale", "applied", "applied"]
    assert found[str(here[0].pk)].reason == "Changed there since: city was “City 0”, is “Oslo”."
    assert found[str(here[1].pk)].reason == "Changed there since: name is “Somebody”."
    assert "was deleted" in found[str(here[3].pk)].reason
    assert (done.stale, done.read, done.updated, done.unchanged) == (3, 6, 2, 1)
    assert (done.state, done.reason) == ("problems", "3 stale: changed since the plan.")
    sent = [change for call in lab.vendor.pushes[before:] for change in call.changes]
    assert {(c.local_key, tuple(c.properties.items())) for c in sent} == {
        (str(u.pk), (("city", "Bergen"),)) for u in (here[4], here[5])
    }


def test_what_changed_here_meanwhile_is_sent_by_the_next_push(lab: Lab) -> None:
    here = lab.people(3)
    sync = lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Bergen")
    plan = lab.run(sync, Run.Kind.PLAN)
    User.objects.filter(pk=here[0].pk).update(last_name="Later")
    User.objects.filter(pk=here[1].pk).delete()
    lab.run(sync)  # another run in between: it delivers the first and the third
    lab.vendor.pushes.clear()

    done = finish(lab, start_apply(plan, user=lab.owner))

    assert {row.state for row in rows(plan).values()} == {"stale"}
    assert lab.vendor.pushes == []
    assert (done.stale, rows(plan)[str(here[1].pk)].reason) == (3, "It is not part of the sync any more.")
    assert "Something else happened to it since the plan" in rows(plan)[str(here[0].pk)].reason


def test_a_value_changed_here_is_written_as_planned_and_sent_afterwards(lab: Lab) -> None:
    here = lab.people(2)
    sync = lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Bergen")
    plan = lab.run(sync, Run.Kind.PLAN)
    User.objects.filter(pk=here[0].pk).update(last_name="Later")

    assert finish(lab, start_apply(plan, user=lab.owner)).updated == 2
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "Bergen"
    assert counts(lab.run(sync)) == {"updated": 1, "unchanged": 1}
    assert lab.vendor.by_name()["Name 0"].properties["city"] == "Later"


def test_a_new_record_that_somebody_else_created_or_that_is_another_one_here_is_not_created(lab: Lab) -> None:
    here = lab.people(4)
    sync = lab.sync()
    known = lab.vendor.seed("people", name="Known", email=here[3].email)
    plan = lab.run(sync, Run.Kind.PLAN)
    assert counts(plan) == {"created": 3, "adopted": 1}
    met = lab.vendor.seed("people", name="Met", email=here[0].email)
    User.objects.filter(pk=here[1].pk).update(email="other@example.org")
    lab.vendor.seed("people", name="Twin", email=here[3].email)

    done = finish(lab, start_apply(plan, user=lab.owner))

    found = rows(plan)
    assert [found[str(u.pk)].state for u in here] == ["stale", "stale", "applied", "stale"]
    assert found[str(here[0].pk)].reason == f"Remote record {met} matches it now."
    assert "Its email here is another one" in found[str(here[1].pk)].reason
    assert "2 remote records match" in found[str(here[3].pk)].reason
    assert (done.created, done.stale, len(lab.vendor.live())) == (1, 3, 4)
    assert lab.vendor.tables["people"][known].properties["name"] == "Known"


def test_write_modes_are_shown_with_what_is_there(lab: Lab) -> None:
    here = lab.people(4)
    modes = {"city": {"write_mode": "if_empty"}, "name": {"write_mode": "if_new"}, "email": {}}
    sync = lab.sync({**modes, "tags": {"write_mode": "append", "expression": "['red']"}})
    full = lab.vendor.seed("people", name="Theirs", email=here[0].email, city="Oslo", tags=("blue",))
    lab.vendor.seed("people", name="Theirs", email=here[1].email, city=None, tags=("red",))
    plan = lab.run(sync, Run.Kind.PLAN)
    first, second, third, _ = (rows(plan)[str(u.pk)] for u in here)
    assert first.kept == {"name": ["Theirs", "Name 0", "if_new"], "city": ["Oslo", "City 0", "if_empty"]}
    assert {n: v for n, v in first.changes.items() if n != "own_key"} == {"tags": [["blue"], ["blue", "red"]]}
    assert {n: v for n, v in second.changes.items() if n != "own_key"} == {"city": [None, "City 1"]}
    assert third.changes["name"] == [None, "Name 2"]
    assert finish(lab, start_apply(plan, user=lab.owner)).state == "succeeded"
    held = lab.vendor.tables["people"][full].properties
    assert (held["name"], held["city"], held["tags"]) == ("Theirs", "Oslo", ("blue", "red"))
    User.objects.filter(pk=here[0].pk).update(last_name="Bergen")
    again = lab.run(sync, Run.Kind.PLAN)
    assert [(row.action, row.kept) for row in rows(again).values()] == [("blocked", {"city": ["Oslo", "Bergen", "if_empty"]})]
    assert counts(again) == {"unchanged": 4}


def test_what_needs_no_call_is_listed_with_its_reason(lab: Lab) -> None:
    here = lab.people(5)
    sync = lab.sync({"name": {}, "email": {}}, filter="username != 'u00004'")
    for name in ("One", "Two"):
        lab.vendor.seed("people", name=name, email=here[0].email)
    User.objects.filter(pk__in=[here[1].pk, here[2].pk]).update(email="same@example.org")
    User.objects.filter(pk=here[3].pk).update(first_name="x" * 21)
    plan = lab.run(sync, Run.Kind.PLAN)
    found = [rows(plan)[str(u.pk)] for u in here]
    assert [row.action for row in found] == ["ambiguous", "ambiguous", "ambiguous", "rejected", "excluded"]
    assert "2 remote records match" in found[0].reason
    assert "shares email" in found[1].reason
    assert counts(plan) == {"ambiguous": 3, "rejected": 1, "excluded": 1}
    with pytest.raises(ConfigError, match="nothing left to be written"):
        start_apply(plan, user=lab.owner)


def test_records_deleted_or_merged_there_are_told(lab: Lab) -> None:
    lab.people(3)
    sync = lab.sync()
    lab.run(sync)
    User.objects.update(last_name="Bergen")
    ids = [lab.vendor.by_name()[f"Name {n}"].id for n in range(3)]
    lab.vendor.delete("people", ids[0])
    into = lab.vendor.merge("people", ids[1])
    plan = lab.run(sync, Run.Kind.PLAN)
    by_id = {row.remote_id: row for row in rows(plan).values()}
    assert (by_id[ids[0]].action, by_id[into].action, by_id[ids[2]].action) == ("gone", "update", "update")
    assert "merged into" in by_id[into].reason
    assert finish(lab, start_apply(plan, user=lab.owner)).updated == 2
    assert lab.vendor.tables["people"][into].properties["city"] == "Bergen"


def test_associations_are_planned_and_applied(lab: Lab) -> None:
    people, team = lab.people(2), Group.objects.create(name="A")
    teams = lab.teams()
    for user in people:
        user.groups.add(team)
    sync = lab.sync({"name": {}, "email": {}, "teams": {"association": True}})
    before = lab.run(sync, Run.Kind.PLAN)
    assert before.waiting == 2
    assert rows(before)[str(people[0].pk)].associations["teams"]["missing"] == [str(team.pk)]
    lab.run(teams)
    plan = lab.run(sync, Run.Kind.PLAN)
    remote = lab.link(team).remote_id
    assert rows(plan)[str(people[0].pk)].associations == {"teams": {"add": [remote], "remove": [], "missing": []}}
    assert finish(lab, start_apply(plan, user=lab.owner)).created == 2
    assert all(held.associated == {remote} for held in lab.vendor.live())
    people[0].groups.clear()
    again = lab.run(sync, Run.Kind.PLAN)
    assert (again.updated, rows(again)[str(people[0].pk)].changes) == (1, {})
    assert finish(lab, start_apply(again, user=lab.owner)).updated == 1
    assert lab.vendor.by_name()["Name 0"].associated == set()


def test_a_plan_is_applied_once_by_who_may_and_only_while_its_mapping_is_published(lab: Lab) -> None:
    lab.people(2)
    sync = lab.sync()
    plan = lab.run(sync, Run.Kind.PLAN)
    with pytest.raises(ConfigError, match="You may not run"):
        start_apply(plan, user=User.objects.create_user("stranger"))
    first = start_apply(plan, user=lab.owner)
    with pytest.raises(AlreadyRunning):
        start_apply(plan, user=lab.owner)
    cancel(first)
    assert finish(lab, start_apply(plan, user=lab.owner)).created == 2
    with pytest.raises(ConfigError, match="nothing left"):
        start_apply(plan, user=lab.owner)
    lab.people(2, start=10)
    newer = lab.run(sync, Run.Kind.PLAN)
    lab.rules(sync, {"name": {}, "email": {}})
    with pytest.raises(ConfigError, match="Another mapping was published"):
        start_apply(newer, user=lab.owner)
    with pytest.raises(ConfigError, match="is no plan"):
        start_apply(lab.run(sync), user=lab.owner)


def test_a_write_without_an_answer_and_a_refusal_end_as_they_should(lab: Lab) -> None:
    here = lab.people(3)
    sync = lab.sync()
    plan = lab.run(sync, Run.Kind.PLAN)
    lab.vendor.faults.append(lost_answer)
    lab.vendor.poison.add("Name 2")
    done = finish(lab, start_apply(plan, user=lab.owner))
    assert [rows(plan)[str(u.pk)].state for u in here] == ["applied", "applied", "failed"]
    assert (done.created, done.rejected, done.read) == (2, 1, 3)
    assert "1 not applied" in done.reason
    assert len(lab.vendor.live()) == 2


def test_an_application_gives_up_when_nothing_gets_through(lab: Lab) -> None:
    lab.people(3)
    sync = lab.sync()
    plan = lab.run(sync, Run.Kind.PLAN)
    lab.vendor.faults += [raising(Retryable("The system is away.", 0.0))] * 100
    done = finish(lab, start_apply(plan, user=lab.owner))
    assert (done.state, done.reason) == (Run.State.FAILED, "The system is away.")
    assert len(lab.vendor.pushes) == claims.MAX_ATTEMPTS


def test_a_plan_gives_up_when_it_fails_at_the_same_record_again_and_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning the others once more is no progress."""
    lab.people(30)
    send, failed = Planner.send, []

    def failing(self: Planner, batch: Sequence[Work]) -> Sent:
        if any(work.row.values["name"] == "Name 29" for work in batch):
            failed.append(batch)
            raise ConnectorFault("It cannot be read.")
        return send(self, batch)

    monkeypatch.setattr(Planner, "send", failing)
    plan = lab.run(lab.sync(), Run.Kind.PLAN)
    assert (plan.state, plan.reason) == (Run.State.FAILED, "It cannot be read.")
    assert len(failed) <= claims.MAX_ATTEMPTS + 1


@pytest.mark.parametrize("hook", ["push", "submit", "collect", "create_properties", "erase"])
def test_a_plans_connector_reaches_no_hook_that_could_write(lab: Lab, hook: str) -> None:
    bare = read_only(registry.connector("fake"))
    assert "push" not in bare.implements
    with pytest.raises(UnsupportedFeature, match="A plan writes nothing"):
        getattr(bare.call, hook)(session=None, object_type=None, changes=[])


def test_the_parts_of_a_plan_get_that_connector(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.people(2)
    sync = lab.sync()
    monkeypatch.setattr(Planner, "send", lambda self, batch: self.connector.call.push(session=self.session, changes=[]))
    plan = lab.run(sync, Run.Kind.PLAN)
    assert (plan.state, lab.vendor.pushes) == ("failed", [])
    assert "A plan writes nothing: push of the connector fake cannot be called." in plan.reason


def test_rows_of_old_plans_are_removed(lab: Lab) -> None:
    lab.people(2)
    sync = lab.sync()
    old, new = lab.run(sync, Run.Kind.PLAN), lab.run(sync, Run.Kind.PLAN)
    Run.objects.filter(pk=old.pk).update(finished_at=timezone.now() - timedelta(days=31))
    assert store.forget_old() == 2
    assert (PlanRow.objects.filter(run=old).count(), PlanRow.objects.filter(run=new).count()) == (0, 2)
    with pytest.raises(ConfigError, match="nothing left"):
        start_apply(old, user=lab.owner)


def test_ten_thousand_planned_and_fifty_changed_meanwhile(lab: Lab) -> None:
    number, changed = 10_000, 50
    lab.vendor.batch = 100
    here = lab.people(number)
    for user in here:
        lab.vendor.seed("people", name="Theirs", email=user.email, city="Oslo")
    sync = lab.sync()
    plan = lab.run(sync, Run.Kind.PLAN, seconds=120)
    assert (counts(plan), lab.vendor.pushes) == ({"adopted": number}, [])
    for held in lab.vendor.live()[:: number // changed]:
        held.properties["city"] = "Elsewhere"

    done = finish(lab, start_apply(plan, user=lab.owner), seconds=120)

    assert (done.adopted, done.stale, done.read) == (number - changed, changed, number)
    written = [h for h in lab.vendor.live() if h.properties["name"] != "Theirs"]
    assert len(written) == number - changed
    assert all(str(h.properties["city"]).startswith("City ") and h.properties["own_key"] for h in written)
    sent = {name for call in lab.vendor.pushes for change in call.changes for name in change.properties}
    assert sent == {"name", "city", "own_key"}
    untouched = [h for h in lab.vendor.live() if h.properties["name"] == "Theirs"]
    assert {(h.properties["city"], h.properties.get("own_key")) for h in untouched} == {("Elsewhere", None)}


def test_what_left_a_mirror_is_planned_and_taken_away_when_it_is_as_it_was(lab: Lab) -> None:
    here = lab.people(30)
    sync = lab.sync(mode="mirror", delete_policy="archive", filter="username != 'u00002'")
    lab.run(sync)
    lab.run(sync)
    ids = {str(u.pk): lab.link(u).remote_id for u in here if u.username != "u00002"}
    User.objects.filter(pk__in=[u.pk for u in here[:2]]).delete()
    lab.vendor.tables["people"][str(ids[str(here[0].pk)])].properties["city"] = "Oslo"
    before = len(lab.vendor.live())

    plan = lab.run(sync, Run.Kind.PLAN)

    assert plan.reason.startswith("Planned: 2 to remove, ")
    assert {key: row.action for key, row in rows(plan).items()} == dict.fromkeys((str(u.pk) for u in here[:2]), "remove")
    assert "It would be archived." in rows(plan)[str(here[0].pk)].reason
    assert len(lab.vendor.live()) == before
    lab.vendor.tables["people"][str(ids[str(here[1].pk)])].properties["city"] = "Elsewhere"
    done = finish(lab, start_apply(plan, user=lab.owner))
    assert [rows(plan)[str(u.pk)].state for u in here[:2]] == ["applied", "stale"]
    assert (done.removed, done.stale, len(lab.vendor.live())) == (1, 1, before - 1)
