"""The sync's page: adding, the draft, the schedule, publishing, the preview, and what stands in the way of each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from syncline.models import FieldRule, MatchStepRow, Run, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, estates: tuple[Estate, Estate]) -> Estate:
    client.force_login(estates[0].owner)
    return estates[0]


def page_of(sync: Sync) -> str:
    return reverse("admin:syncline_sync_change", args=[sync.pk])


def do(client: Client, sync: Sync, name: str, **data: str) -> str:
    return client.post(reverse("admin:syncline_sync_do", args=[sync.pk, name]), data, follow=True).content.decode()


def form(sync: Sync, **changes: str) -> dict[str, str]:
    """The form as it stands, with its one rule."""
    rule = sync.rules.get()
    known = {
        "name": sync.name, "mode": "upsert", "segment": "", "filter": "", "gone_policy": "leave", "drift_policy": "suspend",
        "delete_policy": "ignore", "cron": sync.cron,
        "enabled": "on",
        "rules-TOTAL_FORMS": "1", "rules-INITIAL_FORMS": "1", "rules-0-id": str(rule.pk), "rules-0-sync": str(sync.pk),
        "rules-0-position": "1", "rules-0-source": "email", "rules-0-transforms": "trim", "rules-0-target": "name",
        "rules-0-write_mode": "overwrite", "rules-0-null_policy": "clear", "rules-0-enabled": "on",
        "match_steps-TOTAL_FORMS": "0", "match_steps-INITIAL_FORMS": "0", "_continue": "1",
    }  # fmt: skip
    return {**known, **changes}


NEW_RULE = {
    "rules-TOTAL_FORMS": "2", "rules-1-position": "2", "rules-1-expression": "username + '!'", "rules-1-target": "size",
    "rules-1-transforms": 'truncate length=40 | default value="not known"', "rules-1-write_mode": "if_new",
    "rules-1-null_policy": "skip", "rules-1-enabled": "on",
}  # fmt: skip
NEW_STEP = {
    "match_steps-TOTAL_FORMS": "1", "match_steps-0-position": "1", "match_steps-0-property": "name",
    "match_steps-0-also": "size, name", "match_steps-0-normalise": "email", "match_steps-0-only_if_unique": "on",
}  # fmt: skip


def test_adding_goes_from_the_connection_over_the_pair_to_the_draft(client: Client, ann: Estate) -> None:
    first = client.get(reverse("admin:syncline_sync_add")).content.decode()
    assert f"?connection={ann.connection.pk}" in first
    second = f"{reverse('admin:syncline_sync_add')}?connection={ann.connection.pk}"
    shown = client.get(second).content.decode()
    assert "Users (test.user)" in shown
    assert "(things)" in shown
    answer = client.post(second, {"name": "N", "dataset": "test.user", "object_type": "things", "mode": "upsert"})
    made = Sync.objects.get(name="N")
    assert answer["Location"] == page_of(made)
    assert (made.connection, made.created_by) == (ann.connection, ann.owner)
    assert "It has no rules." in client.get(page_of(made)).content.decode()


def test_rules_and_steps_are_edited_as_a_person_writes_them(client: Client, ann: Estate) -> None:
    answer = client.post(page_of(ann.sync), form(ann.sync, **NEW_RULE, **NEW_STEP))
    assert answer.status_code == 302, answer.context["errors"]
    rule, step = FieldRule.objects.get(sync=ann.sync, target="size"), MatchStepRow.objects.get(sync=ann.sync)
    assert rule.transforms == [{"name": "truncate", "length": 40}, {"name": "default", "value": "not known"}]
    assert (rule.write_mode, rule.null_policy, rule.expression) == ("if_new", "skip", "username + '!'")
    assert (step.also, step.normalise, step.only_if_unique) == (["size", "name"], "email", True)
    shown = client.get(page_of(ann.sync)).content.decode()
    assert "truncate length=40 | default value=&quot;not known&quot;" in shown
    assert "the draft differs" in shown


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"cron": "every day"}, "A schedule has 5 parts"),
        ({"cron": "99 3 * * *"}, "is not a schedule"),
        ({"cron": "0 0 31 2 *"}, "never comes"),
        ({"rules-0-transforms": "shout"}, "There is no transform “shout”. Choose one of trim"),
        ({"rules-0-transforms": "truncate"}, "wrong options"),
        ({"rules-0-transforms": "truncate length="}, "length has no value"),
        ({"rules-0-target": ""}, "This field is required."),
        ({"segment": "nobody"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_read_is_said_at_its_input_and_not_stored(
    client: Client, ann: Estate, changes: dict[str, str], sentence: str
) -> None:
    answer = client.post(page_of(ann.sync), form(ann.sync, **changes))
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    ann.sync.refresh_from_db()
    assert (ann.sync.cron, ann.sync.rules.get().transforms) == ("0 3 * * *", [{"name": "trim"}])


def test_a_draft_with_problems_is_stored_listed_and_not_published(client: Client, ann: Estate) -> None:
    wrong = {"rules-0-target": "colour", "filter": "username ==", "_publish": "1"}
    shown = client.post(page_of(ann.sync), form(ann.sync, **wrong), follow=True).content.decode()
    assert "“things” has no property “colour”" in shown
    assert "2 problems in the draft" in shown
    ann.sync.refresh_from_db()
    assert ann.sync.versions.count() == 1
    assert ann.sync.filter == "username =="


def test_save_and_publish_makes_a_version_and_a_history_entry(client: Client, ann: Estate) -> None:
    shown = client.post(page_of(ann.sync), form(ann.sync, **NEW_RULE, _publish="1"), follow=True).content.decode()
    assert "Published as version 2" in shown
    ann.sync.refresh_from_db()
    assert ann.sync.current is not None
    assert (ann.sync.current.number, ann.sync.current.published_by) == (2, ann.owner)
    assert LogEntry.objects.filter(change_message__contains="Published as version 2").exists()
    assert "nothing had to be published" in do(client, ann.sync, "publish")


def test_a_new_schedule_sets_the_next_time_and_switching_off_clears_it(client: Client, ann: Estate) -> None:
    client.post(page_of(ann.sync), form(ann.sync, cron="30 4 * * 1"))
    ann.sync.refresh_from_db()
    assert ann.sync.next_due_at is not None
    assert (ann.sync.next_due_at.hour, ann.sync.next_due_at.minute, ann.sync.next_due_at.weekday()) == (4, 30, 0)
    assert client.get(page_of(ann.sync)).content.decode().count("04:30") >= 3
    off = form(ann.sync)
    del off["enabled"]
    client.post(page_of(ann.sync), off)
    ann.sync.refresh_from_db()
    assert ann.sync.next_due_at is None


def test_run_now_leads_to_the_run_and_a_second_one_waits(client: Client, ann: Estate) -> None:
    shown = do(client, ann.sync, "run")
    run = Run.objects.order_by("-pk")[0]
    assert f"Run {run.pk} is queued." in shown
    assert (run.requested_by, run.trigger, run.kind) == (ann.owner, "manual", "full")
    assert "is running already" in do(client, ann.sync, "retry")
    assert Run.objects.filter(sync=ann.sync).count() == 2


def test_a_sync_without_a_version_explains_its_dead_button(client: Client, ann: Estate) -> None:
    Sync.objects.filter(pk=ann.sync.pk).update(current=None)
    assert "Publish the draft first." in client.get(page_of(ann.sync)).content.decode()
    assert "has no published mapping" in do(client, ann.sync, "run")


def test_creating_properties_asks_first(client: Client, ann: Estate, vendor: Any) -> None:
    FieldRule.objects.create(sync=ann.sync, source="first_name", target="nick", position=2)
    shown = do(client, ann.sync, "create-properties")
    assert "Create 1 properties" in shown
    assert vendor.objects["things"] == ["name", "size"]
    assert "Created in the account: nick." in do(client, ann.sync, "create-properties", confirmed="yes")
    assert vendor.objects["things"] == ["name", "size", "nick"]
    assert "there is nothing to create" in do(client, ann.sync, "create-properties")


def test_a_suggestion_is_asked_for_before_it_replaces_a_draft(client: Client, ann: Estate) -> None:
    assert "The draft has 1 rules." in do(client, ann.sync, "suggest")
    assert "suggests nothing" in do(client, ann.sync, "suggest", confirmed="yes")
    assert ann.sync.rules.count() == 1


def test_the_preview_shows_a_record_that_was_found_by_name(client: Client, ann: Estate) -> None:
    wanted = User.objects.create_user("findme", email=" Find@Example.com ")
    page = reverse("admin:syncline_sync_preview", args=[ann.sync.pk])
    assert f"key={wanted.pk}" in client.get(page, {"q": "findme"}).content.decode()
    shown = client.get(page, {"key": wanted.pk}).content.decode()
    assert "Find@example.com" in shown
    assert "in this sync" in shown
    FieldRule.objects.create(sync=ann.sync, source="first_name", target="colour", position=2)
    assert "has no property “colour”" in client.get(page, {"key": wanted.pk}).content.decode()
    assert "has no record" in client.get(page, {"key": "0"}).content.decode()
    assert "has no record" in client.get(page, {"key": "zero"}).content.decode()


def test_the_preview_asks_for_the_permission_of_the_dataset(client: Client, ann: Estate) -> None:
    ann.owner.user_permissions.remove(Permission.objects.get(codename="view_user"))
    shown = client.get(reverse("admin:syncline_sync_preview", args=[ann.sync.pk]), {"key": ann.owner.pk}).content.decode()
    assert "which you may not read" in shown
    assert ann.owner.email not in shown


def test_a_dataset_or_object_that_is_gone_is_a_sentence(client: Client, ann: Estate) -> None:
    Sync.objects.filter(pk=ann.sync.pk).update(dataset="gone.things")
    assert "No installed app offers the dataset gone.things" in client.get(page_of(ann.sync)).content.decode()
    Sync.objects.filter(pk=ann.sync.pk).update(dataset="test.user", object_type="lost")
    assert "has no object" in client.get(page_of(ann.sync)).content.decode()
    assert client.get(reverse("admin:syncline_sync_preview", args=[ann.sync.pk]), {"key": "1"}).status_code == 200


def test_every_input_has_a_name_that_can_be_read_out(client: Client, ann: Estate) -> None:
    import re

    client.post(page_of(ann.sync), form(ann.sync, **NEW_RULE, **NEW_STEP))
    for page in (page_of(ann.sync), reverse("admin:syncline_connection_change", args=[ann.connection.pk])):
        shown = client.get(page).content.decode()
        labelled = set(re.findall(r'<label[^>]* for="([^"]+)"', shown))
        for tag in re.findall(r"<(?:input|select|textarea)[^>]*>", shown):
            hidden = re.search(r'type="(hidden|submit)"', tag)
            found = re.search(r'id="([^"]+)"', tag)
            assert hidden or "aria-label" in tag or (found and found[1] in labelled), tag
