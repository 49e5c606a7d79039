"""Syncs that pull or go both ways as people set them up: the form and its preview, and where the next pull begins."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from syncline.cli import main
from syncline.connections import startup
from syncline.contract import Op
from syncline.ledger.models import Link
from syncline.ledger.pulled import Checkpoint
from syncline.runs.models import Run
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.pulls import do, granted, page  # noqa: E402
from pulling.world import World, WrittenPeople  # noqa: E402

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("logged_in")]


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
        monkeypatch.setattr(WrittenPeople, "depends_on", ())
        sync = world.pulling()
        save(client, sync, changes_cron="*/5 * * * *")
        sync.refresh_from_db()
        assert sync.changes_cron == "*/5 * * * *"
        assert "does not say which tables" not in page(client, "sync_change", sync.pk)

    def test_records_here_go_only_where_their_app_deletes(self, world: World, client: Client, monkeypatch: Any) -> None:
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
