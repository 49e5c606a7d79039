"""Runs that pull as people and programs see them: counters, what was withheld, the overview, and the API."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from syncline.connections.models import Grant
from syncline.runs.models import PlanRow, Run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.pulls import clashing, do, doubtful, drained, granted, page  # noqa: E402
from pulling.world import World  # noqa: E402

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("logged_in")]


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
