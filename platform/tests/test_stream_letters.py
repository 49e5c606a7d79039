"""Dead letters: what people see of them and decide, on pages and in the API, and what trying again does."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags
from syncline.connections.models import Grant
from syncline.ledger.messages import DeadLetter, Incoming
from syncline.runs.models import Run
from syncline.runs.stream import retry
from syncline.syncs import publish
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from messaging.world import Seats, World, installed, staff  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, db: None) -> Iterator[World]:
    with installed():
        made = World()
        client.force_login(made.owner)
        yield made


@pytest.fixture
def sync(ann: World) -> Sync:
    made = ann.stream()
    ann.kept(made)
    return made


def words(answer: Any) -> str:
    return " ".join(strip_tags(answer.content.decode().replace("<", " <")).split())


def listed(client: Client, query: str = "") -> str:
    return words(client.get(reverse("admin:syncline_deadletter_changelist") + query))


def shown(client: Client, letter: DeadLetter) -> str:
    return words(client.get(reverse("admin:syncline_deadletter_change", args=[letter.pk])))


def do(client: Client, letter: DeadLetter, name: str) -> str:
    return words(client.post(reverse("admin:syncline_deadletter_do", args=[letter.pk, name]), follow=True))


def state(letter: DeadLetter) -> str:
    letter.refresh_from_db()
    return letter.state


class TestSeen:
    def test_the_list_holds_the_open_ones_and_is_filtered_and_searched(self, client: Client, ann: World, sync: Sync) -> None:
        ann.letter(sync, "0:17", customer="c-17")
        ann.letter(sync, "1:18", customer="c-18", code="unreadable", reason="It is no JSON.")
        ann.letter(sync, "0:19", customer="c-19", state="dismissed")
        assert "key c-17" in listed(client)
        assert "key c-18" in listed(client)
        assert "key c-19" not in listed(client)
        for query, found in {
            "?state=dismissed": "c-19",
            "?code=unreadable": "c-18",
            "?partition=1": "c-18",
            "?q=c-17": "c-17",
            "?q=7:1:18": "c-18",
        }.items():
            assert [key for key in ("c-17", "c-18", "c-19") if f"key {key}" in listed(client, query)] == [found], query

    def test_a_body_is_text_cut_and_harmless_and_else_a_table_of_bytes(self, client: Client, ann: World, sync: Sync) -> None:
        bad = ann.letter(sync, "0:1", body=b"<script>alert(1)</script>" + b"z" * 100_000)
        raw = client.get(reverse("admin:syncline_deadletter_change", args=[bad.pk])).content.decode()
        assert "<script>alert" not in raw
        assert "&lt;script&gt;alert(1)" in raw
        assert "Cut here" in raw
        assert len(raw) < 60_000
        binary = ann.letter(sync, "0:2", body=b"\x00\x01Obj\xff" * 1000)
        assert "000000 00 01 4f 62 6a ff" in shown(client, binary)
        assert len(shown(client, binary)) < 20_000

    def test_the_page_tells_reason_next_step_values_and_headers_but_no_secret(
        self, client: Client, ann: World, sync: Sync
    ) -> None:
        letter = ann.letter(sync, headers={"ce-type": "order", "Authorization": "canary"}, code="unreadable")
        text = shown(client, letter)
        for told in (
            "There is no customer c-1.",
            "Correct whoever sends it",
            "ce-type order",
            "seats 12",
            "7:0:17",
            "Sequence 5",
        ):
            assert told in text, told
        assert "canary" not in text

    def test_who_may_not_read_the_dataset_sees_that_there_is_one_and_not_what_it_says(
        self, client: Client, ann: World, sync: Sync
    ) -> None:
        letter = ann.letter(sync, customer="c-secret", reason="Refused.", headers={"x": "c-secret"}, body=b"c-secret")
        ann.owner.user_permissions.clear()
        for page in (listed(client), shown(client, letter), listed(client, "?q=c-secret")):
            assert "key c-secret" not in page
        assert "c-secret" not in shown(client, letter)
        assert "seats 0:17" in listed(client)
        assert "seats 0:17" not in listed(client, "?q=c-secret")
        assert client.get("/api/v1/dead-letters/").json()["results"] == []

    def test_nobody_sees_or_decides_those_of_others(self, client: Client, ann: World) -> None:
        bob = World("bob")
        letter = bob.letter(bob.stream())
        assert "bobs-" not in listed(client, "?state=all")
        assert client.get(reverse("admin:syncline_deadletter_change", args=[letter.pk])).status_code in {302, 404}
        for name in ("try-again", "dismiss"):
            assert client.post(reverse("admin:syncline_deadletter_do", args=[letter.pk, name])).status_code in {302, 404}
            assert client.post(f"/api/v1/dead-letters/{letter.pk}/{name}/").status_code == 404
        assert client.get(f"/api/v1/dead-letters/{letter.pk}/").status_code == 404
        assert state(letter) == "open"

    def test_lists_cost_the_same_for_few_messages_and_for_many(self, client: Client, ann: World, sync: Sync) -> None:
        relay = ann.relay()
        pages = [reverse(f"admin:syncline_{name}_changelist") for name in ("deadletter", "outgoing")]
        pages.append("/api/v1/dead-letters/")
        found = []
        for start in (0, 2):
            for number in range(start, start + 2 + start * 4):
                ann.letter(sync, f"0:{number}")
                ann.outgoing(relay, ann.event(f"c-{number}"))
            found.append([queries(client, page) for page in pages])
        assert found[0] == found[1]


def queries(client: Client, page: str) -> int:
    client.get(page)
    with CaptureQueriesContext(connection) as seen:
        assert client.get(page).status_code == 200
    return len(seen)


class TestDecided:
    def test_it_is_taken_in_counted_and_noted_once_nothing_is_wrong(self, client: Client, ann: World, sync: Sync) -> None:
        letter = ann.letter(sync)
        assert "Tried again: 1 taken in" in do(client, letter, "try-again")
        assert state(letter) == "taken"
        customer = User.objects.get(username="c-1")
        assert (customer.first_name, customer.last_name) == ("5", "12")
        noted = Incoming.objects.get()
        assert (noted.remote_id, noted.message_id, noted.local_key) == ("0:17", "7:0:17", str(customer.pk))
        part = Run.objects.get(sync=sync).parts.get(partition="0")
        assert (part.read, part.created, part.rejected) == (1, 1, 0)
        assert "Tried again" in LogEntry.objects.latest("pk").get_change_message()
        assert "Nothing was left to be tried" in do(client, letter, "try-again")
        assert Incoming.objects.count() == 1

    def test_it_stays_open_with_its_new_reason_while_it_is_refused(self, client: Client, ann: World, sync: Sync) -> None:
        letter = ann.letter(sync, reason="Before.")
        Seats.wrong = {"c-1"}
        assert "1 refused again: There is no customer c-1." in do(client, letter, "try-again")
        assert state(letter) == "open"
        assert (letter.reason, letter.property) == ("There is no customer c-1.", "customer")
        assert not Incoming.objects.exists()

    def test_an_older_message_than_the_records_last_one_changes_nothing(self, client: Client, ann: World, sync: Sync) -> None:
        User.objects.create_user("c-1", first_name="6", last_name="99")
        letter = ann.letter(sync)
        assert "said nothing that is not known here" in do(client, letter, "try-again")
        assert (state(letter), User.objects.get(username="c-1").last_name) == ("taken", "99")
        assert not Incoming.objects.exists()

    def test_one_that_nobody_counted_is_not_written_over_what_was_taken_in_after_it(self, ann: World, sync: Sync) -> None:
        user = User.objects.create_user("c-1", last_name="99")
        late, other = ann.letter(sync, sequence=None), ann.letter(sync, "0:19", customer="c-2", sequence=None)
        run = Run.objects.get(sync=sync)
        Incoming.objects.create(sync_id=sync.pk, run_id=run.pk, remote_id="0:18", local_key=user.pk, status="updated")
        Incoming.objects.update(at=timezone.now() + dt.timedelta(seconds=1))
        tried = retry.try_again([late, other], ann.owner)
        assert (tried.taken, tried.refused) == (1, 1)
        assert (User.objects.get(username="c-1").last_name, User.objects.get(username="c-2").last_name) == ("99", "12")
        assert (state(late), late.code, state(other)) == ("open", "conflict", "taken")

    def test_those_that_nobody_counted_are_taken_in_one_after_the_other(self, ann: World, sync: Sync) -> None:
        first = ann.letter(sync, "0:17", sequence=None, properties={"customer": "c-1", "seats": "1"})
        second = ann.letter(sync, "0:18", sequence=None, properties={"customer": "c-1", "seats": "2"})
        at = timezone.now() - dt.timedelta(hours=1)
        for one in (first, second):
            DeadLetter.objects.filter(pk=one.pk).update(at=at)
            assert retry.try_again([one], ann.owner).taken == 1
        assert User.objects.get(username="c-1").last_name == "2"
        DeadLetter.objects.filter(pk=first.pk).update(state="open")
        assert retry.try_again([first], ann.owner).refused == 1, "the younger one was tried again before"

    def test_it_is_mapped_by_what_is_published_now(self, client: Client, ann: World, sync: Sync) -> None:
        letter, other = ann.letter(sync), ann.letter(sync, "0:18", customer="c-2")
        sync.filter = "seats > 11 && customer == 'c-2'"
        sync.save()
        publish.publish(sync, ann.owner)
        assert "left out by the filter, and dismissed" in do(client, letter, "try-again")
        assert "1 taken in" in do(client, other, "try-again")
        assert (state(letter), state(other)) == ("dismissed", "taken")

    def test_several_of_one_record_are_written_in_their_order(self, ann: World, sync: Sync) -> None:
        late = ann.letter(sync, "0:18", sequence=8, properties={"customer": "c-1", "seats": "2"})
        early = ann.letter(sync, "0:17", sequence=7, properties={"customer": "c-1", "seats": "1"})
        tried = retry.try_again([late, early], ann.owner)
        assert (tried.taken, tried.unchanged, User.objects.get(username="c-1").last_name) == (1, 1, "2")

    def test_one_that_could_not_be_read_can_only_be_dismissed(self, client: Client, ann: World, sync: Sync) -> None:
        letter = ann.letter(sync, code="unreadable", reason="It is no JSON.")
        assert "holds nothing that could be mapped" in do(client, letter, "try-again")
        assert "Dismissed: it is not taken in." in do(client, letter, "dismiss")
        assert state(letter) == "dismissed"
        assert "decided already" in do(client, letter, "dismiss")

    def test_many_are_decided_at_once_and_each_keeps_it_in_its_history(self, client: Client, ann: World, sync: Sync) -> None:
        letters = [ann.letter(sync, f"0:{n}", customer=f"c-{n}") for n in range(3)]
        Seats.wrong = {"c-1"}
        chosen = {"_selected_action": [one.pk for one in letters]}
        address = reverse("admin:syncline_deadletter_changelist")
        answer = client.post(address, {"action": "try_again_all", **chosen}, follow=True)
        assert "2 taken in; 1 refused again: There is no customer c-1." in words(answer)
        assert "Dismissed 1 messages." in words(client.post(address, {"action": "dismiss_all", **chosen}, follow=True))
        assert [state(one) for one in letters] == ["taken", "dismissed", "taken"]
        assert LogEntry.objects.filter(object_id=str(letters[1].pk)).count() == 2

    def test_it_takes_the_permission_and_the_right_to_run(self, client: Client, ann: World, sync: Sync) -> None:
        letter = ann.letter(sync)
        carl = staff("carl", "resolve_deadletter")
        Grant.objects.create(connection=ann.log, user=carl)
        client.force_login(carl)
        assert client.post(reverse("admin:syncline_deadletter_do", args=[letter.pk, "dismiss"])).status_code == 403
        assert client.post(f"/api/v1/dead-letters/{letter.pk}/dismiss/").status_code == 403
        assert "you need the permission" in shown(client, letter)
        Grant.objects.update(may_run=True)
        carl.user_permissions.remove(*carl.user_permissions.filter(codename="resolve_deadletter"))
        assert "You may not decide" in do(client, letter, "dismiss")
        assert client.post(f"/api/v1/dead-letters/{letter.pk}/try-again/").status_code == 409
        assert state(letter) == "open"

    def test_while_the_sync_is_off_it_is_taken_in_all_the_same(self, ann: World, sync: Sync) -> None:
        letter = ann.letter(sync)
        run = Run.objects.get(sync=sync)
        run.parts.update(state="done")
        Run.objects.update(state="succeeded", read=9, rejected=1)
        Sync.objects.filter(pk=sync.pk).update(enabled=False)
        assert retry.try_again([letter], ann.owner).taken == 1
        run.refresh_from_db()
        assert (run.read, run.created, run.rejected) == (10, 1, 1)

    def test_the_api_lists_decides_and_keeps_it_in_the_history(self, client: Client, ann: World, sync: Sync) -> None:
        first, second = ann.letter(sync, "0:1"), ann.letter(sync, "1:2", customer="c-2")
        results = client.get("/api/v1/dead-letters/", {"state": "open", "partition": "1"}).json()["results"]
        assert [(one["id"], one["remote_id"], one["key"]) for one in results] == [(second.pk, "1:2", "c-2")]
        assert "body" not in results[0]
        whole = client.get(f"/api/v1/dead-letters/{second.pk}/").json()
        assert (whole["body"], whole["properties"]["seats"]) == ("eyJjdXN0b21lciI6ICJjLTEifQ==", "12")
        assert client.post(f"/api/v1/dead-letters/{first.pk}/try-again/").json()["state"] == "taken"
        assert client.post(f"/api/v1/dead-letters/{second.pk}/dismiss/").json()["state"] == "dismissed"
        assert "through the API" in LogEntry.objects.latest("pk").get_change_message()
