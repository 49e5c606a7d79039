"""Runs as they go on and as they ended, the ledger behind them, and where a record went."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from syncline.models import Entry, Link, Run, RunPart, Sync
from syncline.runs.start import start_run

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, estates: tuple[Estate, Estate]) -> Estate:
    client.force_login(estates[0].owner)
    return estates[0]


@pytest.fixture
def going(ann: Estate) -> Run:
    """A run whose part has counted something that the run itself does not know yet."""
    run = start_run(ann.sync, user=ann.owner)
    run.parts.filter(kind=RunPart.Kind.RANGE).update(
        state=RunPart.State.LEASED, read=4321, created=4000, owner="worker-7", last_error="It answered 503."
    )
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING)
    run.refresh_from_db()
    return run


def page_of(run: Run) -> str:
    return reverse("admin:syncline_run_change", args=[run.pk])


def text(client: Client, address: str, **query: str) -> str:
    return client.get(address, query).content.decode()


def test_an_active_run_shows_what_its_parts_have_counted(client: Client, ann: Estate, going: Run) -> None:
    shown = text(client, page_of(going))
    assert "<dd>4321</dd>" in shown
    assert "worker-7" in shown
    assert "It answered 503." in shown
    assert 'hx-trigger="every 2s"' in shown
    assert "htmx-2" in shown
    assert "Cancel this run" in shown
    assert "4,000 created" in text(client, reverse("admin:syncline_run_changelist"))
    assert "4321 read" in text(client, reverse("admin:index"))


def test_the_live_part_stops_asking_when_the_run_has_ended(client: Client, ann: Estate, going: Run) -> None:
    live = reverse("admin:syncline_run_progress", args=[going.pk])
    first = client.get(live)
    assert (first.status_code, b"hx-get" in first.content) == (200, True)
    assert b"<html" not in first.content
    Run.objects.filter(pk=going.pk).update(state=Run.State.PROBLEMS)
    last = client.get(live)
    assert (last.status_code, b"hx-get" in last.content) == (286, False)
    assert (first.headers.get("HX-Refresh"), last.headers.get("HX-Refresh")) == (None, "true")
    assert "completed with problems" in last.content.decode()
    assert "htmx-2" not in text(client, page_of(going))


def test_how_far_it_is_compares_with_the_last_complete_run(client: Client, ann: Estate, going: Run) -> None:
    assert "of about 1 records" in text(client, page_of(going))
    Run.objects.filter(pk=ann.run.pk).update(read=8642)
    assert 'value="50"' in text(client, page_of(going))


def test_cancelling_ends_the_run_and_is_kept_in_the_history(client: Client, ann: Estate, going: Run) -> None:
    address = reverse("admin:syncline_run_do", args=[going.pk, "cancel"])
    client.post(address)
    going.refresh_from_db()
    assert going.state == Run.State.CANCELLED
    assert LogEntry.objects.filter(object_id=str(going.pk), change_message__contains="cancelled").exists()
    assert "has ended already" in client.post(address, follow=True).content.decode()


def test_a_run_is_paused_and_resumed_by_its_buttons(client: Client, ann: Estate, going: Run) -> None:
    page = reverse("admin:syncline_run_change", args=[going.pk])
    assert "Resume" not in client.get(page).content.decode()
    client.post(reverse("admin:syncline_run_do", args=[going.pk, "pause"]))
    going.refresh_from_db()
    assert going.state == "paused"
    shown = client.get(page).content.decode()
    assert "Resume" in shown
    assert "Cancel this run" in shown
    client.post(reverse("admin:syncline_run_do", args=[going.pk, "resume"]))
    going.refresh_from_db()
    assert going.state == "running"
    answer = client.post(reverse("admin:syncline_run_do", args=[going.pk, "resume"]), follow=True)
    assert "This run is not paused." in answer.content.decode()
    assert LogEntry.objects.filter(object_id=str(going.pk)).count() == 2


def test_a_record_is_pushed_at_once_from_its_ledger_page(client: Client, ann: Estate, going: Run) -> None:
    found = Link.objects.filter(connection=ann.connection).first()
    assert found is not None
    client.post(reverse("admin:syncline_link_do", args=[found.pk, "push"]))
    part = going.parts.get(kind="keys")
    assert (part.keys, part.priority) == ([found.local_key], RunPart.Priority.INTERACTIVE)
    Sync.objects.filter(pk=ann.sync.pk).update(enabled=False)
    answer = client.post(reverse("admin:syncline_link_do", args=[found.pk, "push"]), follow=True)
    assert "Enable one, or publish its mapping." in answer.content.decode()


def test_completed_with_problems_is_not_called_succeeded(client: Client, ann: Estate) -> None:
    shown = text(client, page_of(ann.run))
    assert "completed with problems" in shown
    assert "succeeded" not in shown


def test_causes_name_the_next_step_and_lead_to_their_records(client: Client, ann: Estate) -> None:
    shown = text(client, page_of(ann.run))
    assert "anns-name is too long." in shown
    assert "Shorten it." in shown
    assert reverse("admin:syncline_link_change", args=[ann.link.pk]) in shown
    assert "anns-person" in shown
    ann.owner.user_permissions.remove(Permission.objects.get(codename="view_user"))
    assert "anns-person" not in text(client, page_of(ann.run))


def test_a_cause_in_the_list_leads_to_its_run(client: Client, ann: Estate) -> None:
    assert "anns-name is too long." in text(client, reverse("admin:syncline_errorgroup_changelist"))
    answer = client.get(reverse("admin:syncline_errorgroup_change", args=[ann.group.pk]))
    assert answer["Location"] == f"{page_of(ann.run)}#group-{ann.group.pk}"


def test_runs_and_links_cannot_be_written(client: Client, admin_client: Client, ann: Estate) -> None:
    for model, obj in (("run", ann.run), ("link", ann.link), ("errorgroup", ann.group)):
        assert admin_client.get(reverse(f"admin:syncline_{model}_add")).status_code == 403
        assert admin_client.post(reverse(f"admin:syncline_{model}_delete", args=[obj.pk]), {"post": "yes"}).status_code == 403
        admin_client.post(reverse(f"admin:syncline_{model}_change", args=[obj.pk]), {"state": "delivered"})
        assert type(obj).objects.filter(pk=obj.pk, state=obj.state).exists()


def test_the_ledger_finds_a_record_by_its_local_key_and_by_its_remote_id(client: Client, ann: Estate) -> None:
    ann.more_links(3)
    ledger = reverse("admin:syncline_link_changelist")
    for asked in (ann.link.local_key, str(ann.link.remote_id)):
        assert client.get(ledger, {"q": asked}).context["cl"].result_count == 1
    assert client.get(ledger, {"q": str(ann.link.remote_id)[:-1]}).context["cl"].result_count == 0


def test_the_review_list_holds_what_waits_for_a_person(client: Client, ann: Estate) -> None:
    ledger = reverse("admin:syncline_link_changelist")
    assert client.get(ledger, {"attention": "review"}).context["cl"].result_count == 0
    assert client.get(ledger, {"attention": "rejected"}).context["cl"].result_count == 1
    Link.objects.filter(pk=ann.link.pk).update(state=Link.State.AMBIGUOUS)
    answer = client.get(ledger, {"attention": "review"})
    assert answer.context["cl"].result_count == 1
    assert "anns-sync: the name is too long." in answer.content.decode()


def test_a_links_page_shows_what_was_sent_with_which_answer(client: Client, ann: Estate) -> None:
    Entry.objects.create(link_id=ann.link.pk, run_id=ann.run.pk, op="update", status="updated", sent={"name": None})
    shown = text(client, reverse("admin:syncline_link_change", args=[ann.link.pk]))
    for wanted in ("anns-sync value", "too long", "rejected", "cleared", str(ann.link.remote_id), "version 1"):
        assert wanted in shown
    for _ in range(30):
        Entry.objects.create(link_id=ann.link.pk, run_id=ann.run.pk, op="update", status="updated")
    assert "page 1 of 2" in text(client, reverse("admin:syncline_link_change", args=[ann.link.pk]))


def test_a_person_decides_about_a_link(client: Client, ann: Estate) -> None:
    def do(name: str, **data: str) -> str:
        return client.post(reverse("admin:syncline_link_do", args=[ann.link.pk, name]), data, follow=True).content.decode()

    assert "looks at this record again" in do("look-again")
    assert "Give the id of the remote record." in do("link")
    assert "Linked to 4711." in do("link", remote_id=" 4711 ")
    ann.link.refresh_from_db()
    assert (ann.link.remote_id, ann.link.state) == ("4711", "pending")
    assert "Unlinked." in do("unlink")
    ann.link.refresh_from_db()
    assert ann.link.remote_id is None
    decisions = Entry.objects.filter(link_id=ann.link.pk, op="review").values_list("message", flat=True)
    assert [one for one in decisions if one.endswith("by ann.")] == list(decisions)
    assert LogEntry.objects.filter(object_id=str(ann.link.pk)).count() == 3


def test_the_record_panel_tells_where_a_record_went(client: Client, ann: Estate) -> None:
    page = reverse("admin:auth_user_change", args=[ann.link.local_key])
    shown = text(client, page)
    assert "Where did this record go?" in shown
    assert str(ann.link.remote_id) in shown
    assert "anns-sync: the name is too long." in shown
    assert reverse("admin:syncline_link_change", args=[ann.link.pk]) in shown
    stranger = User.objects.create_user("stranger")
    assert "not read yet" in text(client, reverse("admin:auth_user_change", args=[stranger.pk]))


def test_models_without_a_dataset_have_no_panel(admin_client: Client, estates: tuple[Estate, Estate]) -> None:
    from django.contrib.auth.models import Group

    group = Group.objects.create(name="g")
    assert "Where did this record go?" not in text(admin_client, reverse("admin:auth_group_change", args=[group.pk]))


def test_the_overview_counts_what_needs_a_person(client: Client, ann: Estate, going: Run) -> None:
    ann.more_links(2)
    home = client.get(reverse("admin:index")).context["home"]
    assert {one["label"]: one["count"] for one in home["attention"]} == {"for review": 0, "rejected": 3}
    assert [one["run"].pk for one in home["active"]] == [going.pk]
    assert [one["run"].pk for one in home["problems"]] == [ann.run.pk]
    assert [(one["label"], one["count"]) for one in home["connections"]] == [("ok", 1)]


def test_a_sync_that_could_not_start_is_seen_on_its_page_in_the_list_and_on_the_overview(client: Client, ann: Estate) -> None:
    page = reverse("admin:syncline_sync_change", args=[ann.sync.pk])
    places = [page, reverse("admin:syncline_sync_changelist"), reverse("admin:index")]
    assert not any("Ask <somebody>" in client.get(place).content.decode().replace("&lt;", "<") for place in places)
    Sync.objects.filter(pk=ann.sync.pk).update(blocked_reason="Ask <somebody> for it.")
    for place in places:
        assert "Ask &lt;somebody&gt; for it." in client.get(place).content.decode(), place
    assert client.get(reverse("admin:index")).context["home"]["blocked"][0]["address"] == page
    client.force_login(User.objects.create_user("looks", is_staff=True))
    assert client.get(reverse("admin:index")).context["home"]["blocked"] == []


def test_the_catalog_is_searched_by_name_and_label(client: Client, ann: Estate) -> None:
    page = reverse("admin:syncline_objectsnapshot_change", args=[ann.connection.objects_offered.get().pk])
    assert {one.name for one in client.get(page).context["properties"]} == {"name", "size"}
    assert {one.name for one in client.get(page, {"q": "SIZ"}).context["properties"]} == {"size"}
    assert "No property has" in text(client, page, q="colour")
