"""Fields that both sides changed, side by side, and how people decide them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from syncline.ledger.models import Link
from syncline.ledger.pulled import Arrival, Conflict

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.pulls import chosen, clashing, do, drained, granted, page, queries  # noqa: E402
from pulling.world import World  # noqa: E402

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("logged_in")]


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
