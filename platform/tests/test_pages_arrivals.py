"""The review list: what came from an account and found no place here, and what people may do about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs.models import Run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.pulls import chosen, do, doubtful, drained, granted, page  # noqa: E402
from pulling.world import World  # noqa: E402

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("logged_in")]


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
