"""Removals that wait: what a run's page shows of them, who may let them pass, and what the sync's form says about mirroring."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from syncline import registry
from syncline.contract import Dependency
from syncline.models import Entry, Link, PlanRow, Run, RunPart, Sync
from syncline.outbox import watch
from syncline.outbox.models import OutboxKey

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db
BUTTON = "Look through and approve"


@pytest.fixture
def ann(client: Client, estates: tuple[Estate, Estate]) -> Estate:
    estates[0].owner.user_permissions.add(Permission.objects.get(codename="approve_removal"))
    client.force_login(User.objects.get(pk=estates[0].owner.pk))
    return estates[0]


@pytest.fixture
def run(ann: Estate) -> Run:
    """One that withheld thirty removals."""
    Sync.objects.filter(pk=ann.sync.pk).update(mode="mirror", delete_policy="archive")
    Run.objects.filter(pk=ann.run.pk).update(state=Run.State.PROBLEMS, withheld=30)
    PlanRow.objects.bulk_create(
        PlanRow(run=ann.run, local_key=str(n), remote_id=f"r{n}", action="remove", reason="It left.") for n in range(30)
    )
    return ann.run


def shown(client: Client, run: Run, **query: str) -> str:
    return client.get(reverse("admin:syncline_run_change", args=[run.pk]), query).content.decode()


def approve(client: Client, run: Run, **data: str) -> str:
    address = reverse("admin:syncline_run_do", args=[run.pk, "approve-removals"])
    return client.post(address, data, follow=True).content.decode()


def test_the_page_lists_what_waits_page_by_page(client: Client, run: Run) -> None:
    first = shown(client, run)
    assert "30 removals wait for approval" in first
    assert BUTTON in first
    assert "r24" in first
    assert "r25" not in first
    assert "r29" in shown(client, run, withheld="2")


def test_a_record_that_is_no_longer_here_is_called_what_was_sent_of_it(client: Client, run: Run, ann: Estate) -> None:
    row = run.plan_rows.order_by("id").first()
    assert row is not None
    sync = run.sync
    link = Link.objects.create(
        connection=sync.connection, object_type=sync.object_type, dataset=sync.dataset, local_key=row.local_key
    )
    for name in ("Old name", "Gone Ltd"):
        Entry.objects.create(link_id=link.pk, run_id=1, op="update", status="updated", sent={"name": name, "size": 3})
    Entry.objects.create(link_id=link.pk, run_id=1, op="archive", status="updated")
    page = shown(client, run)
    assert "Gone Ltd" in page
    assert "Old name" not in page


def test_nothing_is_removed_before_the_question_is_answered(client: Client, run: Run) -> None:
    asked = approve(client, run)
    assert "Remove 30 records" in asked
    assert "and 20 more" in asked
    assert "archived" in asked
    assert not Run.objects.filter(kind=Run.Kind.REMOVAL).exists()

    approve(client, run, confirmed="yes")
    started = Run.objects.get(kind=Run.Kind.REMOVAL)
    assert (started.plan, started.approved_by) == (run, run.sync.connection.owner)
    assert [part.kind for part in started.parts.all()] == [RunPart.Kind.LEAVING]
    assert f"Run {started.pk} is queued" in LogEntry.objects.latest("pk").change_message
    assert f'what <a href="{reverse("admin:syncline_run_change", args=[run.pk])}#withheld">run {run.pk}' in shown(client, started)


def test_who_may_run_but_not_approve_sees_why(client: Client, run: Run, ann: Estate) -> None:
    ann.owner.user_permissions.clear()
    page = shown(client, run)
    assert "You need the permission" in page
    assert "disabled" in page
    assert "You may not let removals pass" in approve(client, run, confirmed="yes")
    assert not Run.objects.filter(kind=Run.Kind.REMOVAL).exists()


def test_bob_does_not_find_the_run(client: Client, run: Run, estates: tuple[Estate, Estate]) -> None:
    estates[1].owner.user_permissions.add(Permission.objects.get(codename="approve_removal"))
    client.force_login(User.objects.get(pk=estates[1].owner.pk))
    approve(client, run, confirmed="yes")
    assert not Run.objects.filter(kind=Run.Kind.REMOVAL).exists()


def test_a_run_that_withheld_nothing_says_nothing(client: Client, ann: Estate) -> None:
    assert BUTTON not in shown(client, ann.run)
    assert "withholds no removals" in approve(client, ann.run, confirmed="yes")


def test_through_the_api(client: Client, run: Run, ann: Estate) -> None:
    address = f"/api/v1/runs/{run.pk}/approve-removals/"
    answer = client.post(address)
    assert answer.status_code == 201, answer.content
    assert answer.json()["kind"] == "removal"
    ann.owner.user_permissions.clear()
    assert client.post(address).status_code == 409


class TestForm:
    def address(self, ann: Estate) -> str:
        return reverse("admin:syncline_sync_change", args=[ann.sync.pk])

    def post(self, client: Client, ann: Estate, **changed: str) -> str:
        sync = ann.sync
        data = {
            name: str(getattr(sync, name)) for name in ("name", "mode", "gone_policy", "drift_policy", "delete_policy", "cron")
        }
        for prefix in ("rules", "match_steps"):
            data |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
        return client.post(self.address(ann), {**data, **changed}, follow=True).content.decode()

    def test_a_dataset_that_cannot_be_watched_is_refused(self, client: Client, ann: Estate) -> None:
        assert "does not say which tables it depends on" in self.post(client, ann, changes_cron="*/5 * * * *")
        assert "does not say which tables it depends on" in self.post(client, ann, at_once="on")
        ann.sync.refresh_from_db()
        assert not ann.sync.at_once

    def test_changes_at_once_are_saved_and_shown(self, client: Client, ann: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(registry.dataset(ann.sync.dataset)), "depends_on", (Dependency("auth_user"),))
        monkeypatch.setattr(watch.Installed, "fits", lambda _self, _watch: True)
        Sync.objects.filter(pk=ann.sync.pk).update(blocked_reason="It was said long ago.")
        self.post(client, ann, at_once="on", enabled="on", cron="")
        ann.sync.refresh_from_db()
        assert (ann.sync.at_once, ann.sync.blocked_reason) == (True, None)
        OutboxKey.objects.create(sync=ann.sync, local_key="1")
        page = client.get(self.address(ann)).content.decode()
        assert "1 record waits to be pushed at once" in page
        assert "everything: by hand only; changes: at once" in page
        assert "changes at once" in client.get(reverse("admin:syncline_sync_changelist")).content.decode()

    def test_a_sync_that_only_pulls_pushes_no_changes(self, client: Client, ann: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(registry.dataset(ann.sync.dataset)), "depends_on", (Dependency("auth_user"),))
        Sync.objects.filter(pk=ann.sync.pk).update(direction=Sync.Direction.PULL)
        assert 'name="at_once"' not in self.post(client, ann, at_once="on")

    def test_a_policy_that_the_system_does_not_offer_is_refused(self, client: Client, ann: Estate) -> None:
        assert "the system offers no delete" in self.post(client, ann, mode="mirror", delete_policy="delete")
        ann.sync.refresh_from_db()
        assert ann.sync.delete_policy == "ignore"

    def test_the_page_says_how_many_changes_wait(self, client: Client, ann: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        Sync.objects.filter(pk=ann.sync.pk).update(changes_cron="*/5 * * * *", enabled=True)
        assert "not watched: its dataset" in client.get(self.address(ann)).content.decode()
        monkeypatch.setattr(watch, "dependencies", lambda _sync: [Dependency("auth_user")])
        monkeypatch.setattr(watch.Installed, "fits", lambda _self, _watch: True)
        OutboxKey.objects.create(sync=ann.sync, local_key="1")
        page = client.get(self.address(ann)).content.decode()
        assert "1 record waits to be pushed" in page
        assert 'name="delete_policy"' in page
