"""Pulls and two-way syncs as people see them: the form, positions, the review list, conflicts, what was withheld."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from syncline.cli import main
from syncline.connections.models import Grant
from syncline.contract import Op
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Checkpoint, Conflict
from syncline.runs import execute
from syncline.runs.models import PlanRow, Run
from syncline.runs.pull import noting, window
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pulling.account import Account  # noqa: E402
from pulling.world import World, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, client: Client) -> Iterator[World]:
    monkeypatch.setattr(noting, "PAUSE", 0.05)
    monkeypatch.setattr(window, "CLOCKS_APART", 0.0)
    account = Account()
    with installed(account):
        made = World(account)
        client.force_login(made.owner)
        yield made


def page(client: Client, name: str, *args: Any, **query: str) -> str:
    answer = client.get(reverse(f"admin:syncline_{name}", args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


def do(client: Client, model: str, pk: int, name: str, **data: str) -> str:
    return client.post(reverse(f"admin:syncline_{model}_do", args=[pk, name]), data, follow=True).content.decode()


def chosen(client: Client, model: str, action: str, pks: list[int]) -> str:
    data = {"action": action, "_selected_action": [str(pk) for pk in pks], "index": "0"}
    return client.post(reverse(f"admin:syncline_{model}_changelist"), data, follow=True).content.decode()


def queries(client: Client, address: str) -> int:
    client.get(address)  # fills what is cached
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


def granted(world: World, *permissions: str, may_run: bool = True) -> User:
    """Somebody else on the staff, with a grant for the connection."""
    user = User.objects.create_user("ann", "ann@example.org", "p", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    Grant.objects.create(connection=world.connection, user=user, may_run=may_run)
    return user


def doubtful(world: World, number: int = 1) -> tuple[Sync, list[Arrival]]:
    """Records there that have their e-mail address in common with two of ours each."""
    for n in range(number):
        for twin in "ab":
            User.objects.create(username=f"u{n}{twin}", first_name=f"Ours {n}{twin}", email=f"same{n}@example.org")
        world.vendor.seed("people", name=f"Theirs {n}", email=f"same{n}@example.org", city="There")
    sync = world.pulling()
    world.run(sync)
    return sync, list(Arrival.objects.order_by("pk"))


def clashing(world: World, number: int = 1) -> tuple[Sync, list[Conflict]]:
    ids = [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city="Before") for n in range(number)]
    sync = world.pulling("two_way")
    world.run(sync)
    User.objects.filter(is_staff=False).update(last_name="Ours")
    for id_ in ids:
        world.vendor.edit(id_, city="Theirs")
    world.run(sync)
    return sync, list(Conflict.objects.order_by("pk"))


def drained() -> None:
    for _ in range(20):
        execute.work(20)
        if not Run.objects.filter(state__in=Run.ACTIVE).exists():
            return
    pytest.fail("Runs do not come to their end.")


def form(sync: Sync, **changes: str) -> dict[str, str]:
    data = {
        "name": sync.name, "direction": sync.direction, "mode": sync.mode, "delete_policy": sync.delete_policy,
        "gone_policy": "leave", "drift_policy": "suspend", "cron": "", "changes_cron": "", "enabled": "on", "_continue": "1",
        "match_steps-TOTAL_FORMS": "0", "match_steps-INITIAL_FORMS": "0",
        "rules-TOTAL_FORMS": str(sync.rules.count()), "rules-INITIAL_FORMS": str(sync.rules.count()),
    }  # fmt: skip
    for n, rule in enumerate(sync.rules.all()):
        names = ("position", "source", "target", "owner", "write_mode", "null_policy")
        data |= {f"rules-{n}-id": str(rule.pk), f"rules-{n}-sync": str(sync.pk), f"rules-{n}-enabled": "on"}
        data |= {f"rules-{n}-{name}": str(getattr(rule, name)) for name in names}
    return {**data, **changes}


def save(client: Client, sync: Sync, **changes: str) -> str:
    address = reverse("admin:syncline_sync_change", args=[sync.pk])
    return client.post(address, form(sync, **changes), follow=True).content.decode()


class TestForm:
    def test_a_sync_is_added_with_its_direction(self, world: World, client: Client) -> None:
        world.pulling()
        address = f"{reverse('admin:syncline_sync_add')}?connection={world.connection.pk}"
        data = {"name": "N", "dataset": "test.person", "object_type": "people", "direction": "two_way", "mode": "upsert"}
        client.post(address, data)
        assert Sync.objects.get(name="N").direction == "two_way"

    def test_another_direction_has_to_be_published_anew(self, world: World, client: Client) -> None:
        sync = world.pulling()
        assert "publish the mapping again" in save(client, sync, direction="two_way")
        sync.refresh_from_db()
        assert (sync.direction, sync.current) == ("two_way", None)
        assert "has no published mapping" in do(client, "sync", sync.pk, "run")

    def test_the_direction_stays_while_a_run_is_active(self, world: World, client: Client) -> None:
        sync = world.pulling()
        do(client, "sync", sync.pk, "run")
        assert "A run is active" in save(client, sync, direction="push")
        sync.refresh_from_db()
        assert (sync.direction, sync.current is None) == ("pull", False)

    def test_who_decides_is_asked_in_two_way_syncs_only(self, world: World, client: Client) -> None:
        sync = world.pulling("two_way")
        shown = page(client, "sync_change", sync.pk)
        assert "Who decides" in shown
        save(client, sync, **{"rules-0-owner": "newest"})
        assert sync.rules.order_by("position").values_list("owner", flat=True)[0] == "newest"
        save(client, sync, direction="pull")
        shown = page(client, "sync_change", sync.pk)
        assert 'name="rules-0-owner"' not in shown
        assert "Property (there)" in shown

    def test_a_pull_is_described_as_one(self, world: World, client: Client) -> None:
        shown = page(client, "sync_change", world.pulling().pk)
        assert "Pull changes (cron, UTC)" in shown
        assert 'name="segment"' not in shown
        assert "/do/plan/" not in shown
        assert "Create missing properties" not in shown
        assert "Pull changes now" in shown

    def test_the_schedule_of_changes_needs_no_watching_here(self, world: World, client: Client, monkeypatch: Any) -> None:
        from pulling.world import WrittenPeople

        monkeypatch.setattr(WrittenPeople, "depends_on", ())
        sync = world.pulling()
        save(client, sync, changes_cron="*/5 * * * *")
        sync.refresh_from_db()
        assert sync.changes_cron == "*/5 * * * *"
        assert "does not say which tables" not in page(client, "sync_change", sync.pk)

    def test_records_here_go_only_where_their_app_deletes(self, world: World, client: Client, monkeypatch: Any) -> None:
        from dataclasses import replace

        from pulling.world import WrittenPeople

        sync = world.pulling()
        save(client, sync, mode="mirror", delete_policy="delete")
        assert "offers no delete to pulls" not in page(client, "sync_change", sync.pk)
        monkeypatch.setattr(WrittenPeople, "info", replace(WrittenPeople.info, writes=frozenset({Op.CREATE, Op.UPDATE})))
        assert "offers no delete to pulls" in page(client, "sync_change", sync.pk)

    def test_the_preview_shows_what_a_record_there_would_become(self, world: World, client: Client) -> None:
        id_ = world.vendor.seed("people", name="Ann", email="ann@example.org", city="Ulm")
        sync = world.pulling()
        shown = page(client, "sync_preview", sync.pk, key=id_)
        assert "<strong>Ulm</strong>" in shown
        assert "is asked for its values" in shown
        assert "has no" in page(client, "sync_preview", sync.pk, key="nobody")
        assert Link.objects.count() == 0

    def test_changes_are_pulled_by_a_button(self, world: World, client: Client) -> None:
        sync = world.pulling()
        world.run(sync)
        assert "it pulls what changed there" in do(client, "sync", sync.pk, "changes")
        assert "what changed there" in page(client, "run_change", Run.objects.latest("pk").pk)


class TestPosition:
    def test_it_is_told_set_and_reset(self, world: World, client: Client) -> None:
        sync = world.pulling()
        assert "the next pull lists everything" in page(client, "sync_change", sync.pk)
        world.run(sync)
        assert "has arrived" in page(client, "sync_change", sync.pk)

        assert "since 1 Mar 2026 12:00:00 UTC" in do(client, "sync", sync.pk, "set-position", moment="2026-03-01 12:00")
        assert f"{Checkpoint.objects.get().seen_until:%Y-%m-%d %H:%M}" == "2026-03-01 12:00"
        assert "1 Mar 2026" in LogEntry.objects.latest("pk").change_message
        do(client, "sync", sync.pk, "reset-position")
        assert Checkpoint.objects.get().seen_until is None
        assert "lists everything" in LogEntry.objects.latest("pk").change_message

    @pytest.mark.parametrize(
        ("moment", "why"), [("soon", "is no moment"), ("2026-13-01", "is no moment"), ("2999-01-01", "still to come")]
    )
    def test_what_is_no_moment_moves_nothing(self, world: World, client: Client, moment: str, why: str) -> None:
        sync = world.pulling()
        world.run(sync)
        before = Checkpoint.objects.get().seen_until
        assert why in do(client, "sync", sync.pk, "set-position", moment=moment)
        assert Checkpoint.objects.get().seen_until == before

    def test_a_sync_that_runs_keeps_its_position(self, world: World, client: Client) -> None:
        sync = world.pulling()
        world.run(sync)
        do(client, "sync", sync.pk, "run")
        assert "It can be set when" in page(client, "sync_change", sync.pk)
        assert "is active" in do(client, "sync", sync.pk, "reset-position")
        assert Checkpoint.objects.get().seen_until is not None

    def test_it_takes_the_permission(self, world: World, client: Client) -> None:
        sync = world.pulling()
        client.force_login(granted(world))
        assert "reset-position" not in page(client, "sync_change", sync.pk)
        assert "You may not move positions" in do(client, "sync", sync.pk, "reset-position")
        assert not Checkpoint.objects.exists()

    def test_a_listing_that_was_broken_off_is_told(self, world: World, client: Client) -> None:
        sync = world.pulling()
        run = world.run(sync)
        Checkpoint.objects.update(window_until=run.created_at, whole=True, run_id=run.pk)
        assert "was broken off; the next run begins it anew" in page(client, "sync_change", sync.pk)

    def test_from_the_command_line(self, world: World, monkeypatch: Any) -> None:
        from syncline.connections import startup

        monkeypatch.setattr(startup, "begin", lambda: None)
        sync = world.pulling()

        def said(*words: str) -> tuple[int, str]:
            shown = CliRunner().invoke(main, ["position", *words])
            return shown.exit_code, " ".join(shown.output.split())

        assert "the next pull lists everything" in said("get", sync.name)[1]
        assert "since 1 Mar 2026 12:30:00 UTC" in said("set", str(sync.pk), "2026-03-01T12:30")[1]
        assert "before 1 Mar 2026 12:30:00 UTC has arrived" in said("get", sync.name)[1]
        assert said("reset", sync.name)[0] == 0
        assert Checkpoint.objects.get().seen_until is None
        assert said("set", sync.name, "soon") == (
            1,
            "Error: 'soon' is no moment. Write it as 2026-11-26 or 2026-11-26 17:30 (UTC).",
        )
        assert said("get", "nobody")[0] == 1
        Sync.objects.update(direction="push")
        assert "only pushes" in said("reset", sync.name)[1]


class TestReviewList:
    def test_it_tells_why_and_what_can_be_done(self, world: World, client: Client) -> None:
        sync, (one,) = doubtful(world)
        listed = page(client, "arrival_changelist")
        assert "Several of our records match" in listed
        assert "create it as a record of its own" in listed
        shown = page(client, "arrival_change", one.pk)
        assert "Create it here as a record of its own" in shown
        assert "Link it to our record" in shown
        assert f"/syncline/sync/{sync.pk}/" in shown

    def test_it_is_searched_by_id_and_by_name_and_filtered(self, world: World, client: Client) -> None:
        sync, (one, _) = doubtful(world, 2)
        for query in ({"q": one.remote_id}, {"q": "Theirs 0"}):
            listed = page(client, "arrival_changelist", **query)
            assert "Theirs 0" in listed
            assert "Theirs 1" not in listed
        assert "Theirs 0" in page(client, "arrival_changelist", sync=str(sync.pk), state="ambiguous")
        assert "Theirs 0" not in page(client, "arrival_changelist", state="rejected")

    @pytest.mark.parametrize(
        ("action", "sentence"), [("create", "a record of its own here"), ("try-again", "being fetched again")]
    )
    def test_a_button_decides_and_leads_to_the_run(self, world: World, client: Client, action: str, sentence: str) -> None:
        _, (one,) = doubtful(world)
        shown = do(client, "arrival", one.pk, action)
        assert sentence in shown
        assert f"Run {Run.objects.latest('pk').pk} of" in shown
        drained()
        assert Arrival.objects.count() == (0 if action == "create" else 1)
        assert LogEntry.objects.filter(change_message__contains=sentence).exists()

    def test_it_is_linked_to_a_record_of_ours(self, world: World, client: Client) -> None:
        _, (one,) = doubtful(world)
        mine = User.objects.get(username="u0b")
        assert "has no record" in do(client, "arrival", one.pk, "link", local_key="999999")
        assert f"Linked to our record {mine.pk}" in do(client, "arrival", one.pk, "link", local_key=str(mine.pk))
        drained()
        mine.refresh_from_db()
        assert mine.first_name == "Theirs 0"

    def test_many_are_decided_at_once(self, world: World, client: Client) -> None:
        _, found = doubtful(world, 3)
        assert "2 become records of their own" in chosen(client, "arrival", "create_all", [one.pk for one in found[:2]])
        drained()
        assert list(Arrival.objects.all()) == found[2:]
        assert LogEntry.objects.filter(change_message__contains="records of their own").count() == 2
        assert "1 are being fetched" in chosen(client, "arrival", "try_again_all", [found[2].pk])
        assert "delete_selected" not in page(client, "arrival_changelist")

    def test_who_may_not_decide_sees_why_and_changes_nothing(self, world: World, client: Client) -> None:
        _, (one,) = doubtful(world)
        client.force_login(granted(world))
        shown = page(client, "arrival_change", one.pk)
        assert "you need the permission" in shown
        assert "Theirs 0" not in shown
        assert "Theirs 0" not in page(client, "arrival_changelist")
        assert "0 review" in page(client, "arrival_changelist", q="Theirs") or "0 arrivals" in page(
            client, "arrival_changelist", q="Theirs"
        )
        assert "You may not decide what becomes" in do(client, "arrival", one.pk, "create")
        assert "You may not decide what becomes" in chosen(client, "arrival", "create_all", [one.pk])
        assert not Run.objects.filter(kind="keys").exists()

    def test_nobody_sees_what_belongs_to_others(self, world: World, client: Client) -> None:
        _, (one,) = doubtful(world)
        _, (conflict,) = _of_another_world(world)
        stranger = User.objects.create_user("bob", is_staff=True)
        stranger.user_permissions.set(Permission.objects.filter(codename__in=("resolve_arrival", "decide_conflict", "view_user")))
        client.force_login(stranger)
        for model, pk, action in (("arrival", one.pk, "create"), ("conflict", conflict.pk, "ours")):
            assert client.get(reverse(f"admin:syncline_{model}_change", args=[pk])).status_code in (302, 404)
            do(client, model, pk, action)
        assert "Theirs 0" not in page(client, "arrival_changelist")
        assert "field-here_value" not in page(client, "conflict_changelist")
        assert client.get(f"/api/v1/arrivals/{one.pk}/").status_code == 404
        assert client.get("/api/v1/conflicts/").json()["results"] == []
        assert not Run.objects.filter(kind="keys").exists()


def _of_another_world(world: World) -> tuple[Sync, list[Conflict]]:
    """A conflict of the same connection, made by hand."""
    sync = Sync.objects.get()
    link = Link.objects.create(
        connection=world.connection, object_type="people", dataset="test.person", local_key="1", remote_id="x", state="delivered"
    )
    made = Conflict.objects.create(sync=sync, link=link, property="city", field="city", here="Ours", there="Theirs", run_id=1)
    return sync, [made]


class TestConflicts:
    def test_the_list_shows_the_open_ones_with_both_values(self, world: World, client: Client) -> None:
        _, (first, second) = clashing(world, 2)
        listed = page(client, "conflict_changelist")
        assert listed.count(">Theirs<span") == 2
        assert f"/conflict/{first.pk}/do/ours/" in listed
        do(client, "conflict", first.pk, "ours")
        assert f"/conflict/{first.pk}/do/ours/" not in page(client, "conflict_changelist")
        assert "ours holds" in page(client, "conflict_changelist", decision="decided")
        assert f"/conflict/{second.pk}/do/ours/" in page(client, "conflict_changelist", decision="all")

    @pytest.mark.parametrize(("name", "wanted"), [("ours", "Ours"), ("theirs", "Theirs")])
    def test_a_button_decides_and_the_value_is_carried_over(self, world: World, client: Client, name: str, wanted: str) -> None:
        _, (one,) = clashing(world)
        assert "holds; it is being" in do(client, "conflict", one.pk, name)
        drained()
        assert world.vendor.tables["people"][str(one.link.remote_id)].properties["city"] == wanted
        assert User.objects.get(pk=one.link.local_key).last_name == wanted
        one.refresh_from_db()
        assert one.decided_by == world.owner
        assert "decided already" in do(client, "conflict", one.pk, name)

    def test_many_are_decided_at_once(self, world: World, client: Client) -> None:
        _, found = clashing(world, 3)
        assert "3 decided. Theirs holds" in chosen(client, "conflict", "theirs_all", [one.pk for one in found])
        drained()
        assert {city for _, city in world.here().values()} == {"Theirs"}

    def test_its_page_shows_both_values_whole_and_what_both_had(self, world: World, client: Client) -> None:
        _, (one,) = clashing(world)
        Conflict.objects.filter(pk=one.pk).update(here="Ours " * 200, there="Theirs " * 200)
        shown = page(client, "conflict_change", one.pk)
        assert ("Ours " * 200).strip() in shown
        assert ("Theirs " * 200).strip() in shown
        assert "Before" in shown
        assert "Ours holds: write it there" in shown

    def test_the_records_ledger_page_shows_it_and_what_was_pulled(self, world: World, client: Client) -> None:
        _, (one,) = clashing(world)
        shown = page(client, "link_change", one.link_id)
        assert "1 field that both sides changed" in shown
        assert f"/conflict/{one.pk}/change/" in shown
        assert "pulled from there" in shown
        assert "Pull now" in shown
        assert "being fetched now" in do(client, "link", one.link_id, "pull")

    def test_who_may_not_read_the_records_sees_no_value(self, world: World, client: Client) -> None:
        _, (one,) = clashing(world)
        client.force_login(granted(world, "decide_conflict"))
        for shown in (
            page(client, "conflict_changelist"),
            page(client, "conflict_change", one.pk),
            page(client, "link_change", one.link_id),
        ):
            assert "you may not read these records" in shown
            assert "/do/ours/" not in shown
        assert "has to see the values" in do(client, "conflict", one.pk, "ours")
        assert "has to see the values" in chosen(client, "conflict", "theirs_all", [one.pk])
        one.refresh_from_db()
        assert one.decided_at is None

    def test_it_takes_the_permission(self, world: World, client: Client) -> None:
        _, (one,) = clashing(world)
        client.force_login(granted(world, "view_user"))
        assert "you need the permission" in page(client, "conflict_change", one.pk)
        assert "You may not decide conflicts" in do(client, "conflict", one.pk, "ours")
        assert "You may not decide conflicts" in chosen(client, "conflict", "ours_all", [one.pk])
        one.refresh_from_db()
        assert one.decided_at is None


class TestLists:
    @pytest.mark.parametrize("who", ["owner", "grantee"])
    def test_they_cost_the_same_for_few_rows_and_for_many(self, world: World, client: Client, who: str) -> None:
        sync, (conflict,) = clashing(world)
        if who == "grantee":
            client.force_login(granted(world, "view_user", "resolve_arrival", "decide_conflict"))
        lists = [reverse(f"admin:syncline_{model}_changelist") for model in ("arrival", "conflict")]
        few = [queries(client, one) for one in lists]
        for n in range(20):
            Arrival.objects.create(sync=sync, remote_id=f"a{n}", state="ambiguous", code="shared_here", title=f"T{n}")
            link = Link.objects.create(
                connection=world.connection, object_type="people", dataset="test.person", local_key=f"9{n}", remote_id=f"x{n}"
            )
            Conflict.objects.create(sync=sync, link=link, property="city", field="city", here=1, there=2, run_id=conflict.run_id)
        assert [queries(client, one) for one in lists] == few
        assert max(few) <= 14


class TestRuns:
    def test_counters_speak_of_the_direction_and_groups_lead_to_the_review_list(self, world: World, client: Client) -> None:
        _, (one,) = doubtful(world)
        shown = page(client, "run_change", Run.objects.latest("pk").pk)
        assert "records of the account" in shown
        assert "may be one of ours" in shown
        assert f"/arrival/{one.pk}/change/" in shown
        assert "conflicts</dt>" not in shown

    def test_a_two_way_run_counts_conflicts(self, world: World, client: Client) -> None:
        sync, _ = clashing(world, 2)
        run = Run.objects.latest("pk")
        assert f"/conflict/?sync={sync.pk}" in page(client, "run_change", run.pk)
        assert "fields that both sides changed" in page(client, "run_change", run.pk)
        assert "2 conflicts" in page(client, "run_changelist")

    def test_deletions_here_wait_are_listed_and_approved(self, world: World, client: Client) -> None:
        ids = [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org") for n in range(50)]
        sync = world.pulling(mode="mirror", delete_policy="delete")
        world.run(sync)
        for id_ in ids[:40]:
            world.vendor.archive(id_)
        run = world.run(sync)
        shown = page(client, "run_change", run.pk)
        assert "40 removals wait for approval" in shown
        assert "our records of those that are still gone there are deleted" in shown

        asked = do(client, "run", run.pk, "approve-removals")
        assert "Delete 40 of our records?" in asked
        assert len(world.here()) == 50
        do(client, "run", run.pk, "approve-removals", confirmed="yes")
        drained()
        assert len(world.here()) == 10
        assert set(PlanRow.objects.filter(run=run).values_list("state", flat=True)) == {"applied"}
        assert "Removals that were withheld" in page(client, "run_change", run.pk)

    def test_the_overview_counts_what_needs_a_person(self, world: World, client: Client) -> None:
        assert "from there, for review" not in client.get("/admin/").content.decode()
        doubtful(world, 2)
        shown = " ".join(client.get("/admin/").content.decode().split())
        assert '<dt>from there, for review</dt><dd><a href="/admin/syncline/arrival/?state=person">2</a>' in shown
        assert '<dt>conflicts</dt><dd><a href="/admin/syncline/conflict/">0</a>' in shown


class TestApi:
    def test_arrivals_are_listed_and_decided(self, world: World, client: Client) -> None:
        sync, (first, second) = doubtful(world, 2)
        listed = client.get("/api/v1/arrivals/", {"sync": str(sync.pk), "state": "ambiguous"}).json()["results"]
        assert [one["remote_id"] for one in listed] == [second.remote_id, first.remote_id]
        assert "review list" in listed[0]["next_step"]
        key = User.objects.get(username="u0a").pk
        answer = client.post(f"/api/v1/arrivals/{first.pk}/link/", {"local_key": key}, content_type="application/json")
        assert (answer.status_code, answer.json()["kind"]) == (201, "keys")
        assert client.post(f"/api/v1/arrivals/{second.pk}/create/").status_code == 201
        drained()
        assert client.get("/api/v1/arrivals/").json()["results"] == []
        assert User.objects.get(pk=key).first_name == "Theirs 0"

    def test_conflicts_are_listed_and_decided_once(self, world: World, client: Client) -> None:
        _, (one,) = clashing(world)
        (listed,) = client.get("/api/v1/conflicts/").json()["results"]
        assert (listed["here"], listed["there"], listed["local_key"]) == ("Ours", "Theirs", one.link.local_key)
        address = f"/api/v1/conflicts/{one.pk}/decide/"
        assert client.post(address, {"side": "left"}, content_type="application/json").status_code == 400
        answer = client.post(address, {"side": "there"}, content_type="application/json")
        assert answer.json()["decision"] == "there"
        assert client.post(address, {"side": "here"}, content_type="application/json").status_code == 409
        assert client.get("/api/v1/conflicts/").json()["results"] == []
        assert len(client.get("/api/v1/conflicts/", {"decided": "true"}).json()["results"]) == 1

    def test_permissions_are_those_of_the_pages(self, world: World, client: Client) -> None:
        _, (one,) = doubtful(world)
        user = granted(world, "view_user")
        client.force_login(user)
        assert client.post(f"/api/v1/arrivals/{one.pk}/create/").status_code == 409
        user.user_permissions.clear()
        assert client.get("/api/v1/arrivals/").json()["results"] == []
        Grant.objects.update(may_run=False)
        user.user_permissions.set(Permission.objects.filter(codename__in=("view_user", "resolve_arrival")))
        assert client.post(f"/api/v1/arrivals/{one.pk}/create/").status_code == 403

    def test_changes_are_pulled_on_request(self, world: World, client: Client) -> None:
        sync = world.pulling()
        world.run(sync)
        address = f"/api/v1/syncs/{sync.pk}/run/"
        assert client.post(address, {"kind": "changes"}, content_type="application/json").json()["kind"] == "changes"
        drained()
        Sync.objects.update(direction="push")
        assert client.post(address, {"kind": "changes"}, content_type="application/json").status_code == 409
