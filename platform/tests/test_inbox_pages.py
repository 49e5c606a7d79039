"""The inbox on pages and in the command line: what a person sees, what only others see, and what the buttons do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import reverse
from syncline.cli import main
from syncline.connections.models import Grant
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, InboxEvent, WebhookAddress
from syncline.runs import inbox

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import vendor, world  # noqa: E402
from hooking.world import World, event  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def here(db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = world.build()
    monkeypatch.setattr(inbox, "pull_ids", made.pulls)
    monkeypatch.setattr(inbox, "LINGER", 0)
    monkeypatch.setattr("syncline.connections.startup.begin", lambda: None)  # it would close the test's connection
    with (
        vendor.installed(),
        override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"], SECURE_SSL_REDIRECT=False),
    ):
        yield made


def page(name: str, *args: object) -> str:
    return reverse(f"admin:syncline_{name}", args=args)


def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def administrator() -> Client:
    return browser(User.objects.create_superuser("root", "root@example.com", "x"))


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return str(answer.content.decode())


def do(client: Client, model: str, pk: int, name: str, **values: str) -> str:
    answer = client.post(page(f"{model}_do", pk, name), values, follow=True)
    return str(answer.content.decode()) if answer.status_code == 200 else str(answer.status_code)


def test_list_event_and_delivery_are_shown(here: World) -> None:
    here.post([event("7", key="k-7"), event("8", account="nobody")])
    root, (first, second) = administrator(), here.events()
    listed = shown(root, page("inboxevent_changelist"))
    assert "things 7" in listed
    assert "of no connected account" in listed
    assert "No connection belongs to account nobody" in shown(root, page("inboxevent_change", second.pk))
    assert "k-7" in shown(root, page("inboxevent_change", first.pk))
    assert "&quot;account&quot;: &quot;nobody&quot;" in shown(root, page("delivery_change", first.delivery_id))
    assert page("delivery_change", first.delivery_id) in shown(root, page("delivery_changelist"))


def test_a_body_is_text_and_cut_whatever_it_is(here: World) -> None:
    here.post(b"<script>alert(1)</script>\xff" + b"z" * 200_000)
    told = shown(administrator(), page("delivery_change", Delivery.objects.get().pk))
    assert "<script>alert" not in told
    assert "&lt;script&gt;alert(1)" in told
    assert "Cut here" in told
    assert len(told) < 60_000


def test_no_page_shows_what_proves_who_somebody_is(here: World) -> None:
    here.post([event(data={"said": vendor.SECRET})], query="?token=canary-q", **{"X-Api-Token": "canary-t", "Cookie": "canary-c"})
    addresses.add_secret(here.address, "canary-signing")
    root = administrator()
    for name, pk in (("delivery", Delivery.objects.get().pk), ("webhookaddress", here.address.pk), ("registration", here.app.pk)):
        told = shown(root, page(f"{name}_change", pk))
        assert "canary" not in told, name
        assert vendor.sign(bytes(Delivery.objects.get().body), Delivery.objects.get().url) not in told


def test_a_person_sees_events_of_ones_own_connections_and_not_the_delivery_that_tells_of_others(here: World) -> None:
    other = User.objects.create_user("bob", "bob@example.com", "x", is_staff=True)
    Grant.objects.create(connection=here.first, user=other)
    here.post([event("7"), event("8", account="2"), event("9", account="nobody")])
    client = browser(other)
    listed = shown(client, page("inboxevent_changelist"))
    assert ("things 7" in listed, "things 8" in listed, "things 9" in listed) == (True, False, False)
    mine, *others = here.events()
    assert client.get(page("inboxevent_change", mine.pk)).status_code == 200
    for one in others:
        assert client.get(page("inboxevent_change", one.pk)).status_code in {302, 404}
    for name, pk in (("delivery", mine.delivery_id), ("webhookaddress", here.address.pk)):
        assert client.get(page(f"{name}_change", pk)).status_code in {302, 404}, name
    assert "Replay" not in shown(client, page("inboxevent_change", mine.pk)).replace("A replay reads", "")
    InboxEvent.objects.update(state="dead")
    assert do(client, "inboxevent", mine.pk, "replay") == "403"
    assert InboxEvent.objects.count() == 3


def test_who_may_see_registrations_sees_what_arrives_at_their_addresses(here: World) -> None:
    clerk = User.objects.create_user("clerk", "c@example.com", "x", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_registration"))
    here.post([event("9", account="nobody")])
    client = browser(clerk)
    assert "things 9" in shown(client, page("inboxevent_changelist"))
    assert "New secret" not in shown(client, page("webhookaddress_change", here.address.pk))
    assert do(client, "webhookaddress", here.address.pk, "rename") == "403"
    assert do(client, "delivery", Delivery.objects.get().pk, "replay") == "403"


def test_one_event_some_events_and_a_delivery_are_replayed_by_buttons(here: World) -> None:
    here.post([event("7"), event("8")])
    inbox.drain(5)
    root, (first, second) = administrator(), here.events()
    assert "1 event made, 1 on the way" in do(root, "inboxevent", first.pk, "replay")
    assert LogEntry.objects.filter(object_id=str(first.pk)).exists()
    chosen = {"action": "replay_chosen", "_selected_action": [str(first.pk), str(second.pk)]}
    assert "Replayed 2 of 2" in root.post(page("inboxevent_changelist"), chosen, follow=True).content.decode()
    assert "2 events made" in do(root, "delivery", first.delivery_id, "replay")
    assert [one.remote_id for one in here.events(replay=True)] == ["7", "8", "7", "7", "8"]


def test_an_address_is_made_on_the_page_of_its_owner_and_shown_there(here: World) -> None:
    own = world.connection(here.owner, "own", "9")
    client = browser(here.owner)
    before, _, after = shown(client, page("connection_change", own.pk)).partition('id="connection_form"')
    assert "Make a webhook address" in before, "a form inside the form would be dropped by browsers"
    assert "Make a webhook address" not in after
    told = client.post(f"{page('webhookaddress_make')}?connection={own.pk}", follow=True).content.decode()
    made = WebhookAddress.objects.get(connection=own)
    url = f"{world.PUBLIC}/hooks/{made.names.get().slug}/"
    assert url in told
    assert "everything that arrives is refused" in told
    assert url in shown(client, page("connection_change", own.pk))
    assert here.slug in shown(administrator(), page("registration_change", here.app.pk))
    do(client, "webhookaddress", made.pk, "add-secret", secret="long-enough-canary")
    assert "everything that arrives is refused" not in shown(client, page("connection_change", own.pk))


def test_nobody_makes_an_address_for_what_is_anothers(here: World) -> None:
    other = User.objects.create_user("bob", "bob@example.com", "x", is_staff=True)
    Grant.objects.create(connection=here.first, user=other, may_run=True)
    client = browser(other)
    for query, status in (
        (f"connection={here.first.pk}", 403),
        (f"connection={here.second.pk}", 404),
        (f"registration={here.app.pk}", 404),
        ("connection=x", 404),
        ("", 404),
    ):
        assert client.post(f"{page('webhookaddress_make')}?{query}").status_code == status, query
    assert WebhookAddress.objects.count() == 1


def test_secrets_aliases_and_names_are_changed_by_buttons(here: World) -> None:
    root, pk = administrator(), here.address.pk
    assert "8 characters at least" in do(root, "webhookaddress", pk, "add-secret", secret="short")
    for secret in ("canary-the-older", "canary-the-newer"):
        assert "canary" not in do(root, "webhookaddress", pk, "add-secret", secret=secret)
    assert addresses.place_of(pk).secrets == ("canary-the-newer", "canary-the-older", vendor.SECRET)
    do(root, "webhookaddress", pk, "drop-older")
    assert addresses.place_of(pk).secrets == ("canary-the-newer", vendor.SECRET)
    do(root, "webhookaddress", pk, "add-alias", alias="an-alias-of-ours")
    do(root, "webhookaddress", pk, "rename")
    assert {one.slug for one in here.address.names.filter(current=False)} == {"an-alias-of-ours", here.slug}
    do(root, "webhookaddress", pk, "drop-alias", alias=here.slug)
    assert here.post([event()]).status_code == 404
    assert "switched off" in do(root, "webhookaddress", pk, "switch")
    assert not addresses.place_of(pk).open
    assert "canary" not in str(list(LogEntry.objects.values_list("change_message", flat=True)))


def test_refusals_are_explained_on_the_page_of_the_address(here: World) -> None:
    here.post([event()], secret="")
    here.post([event()], secret="something-else")
    told = shown(administrator(), page("webhookaddress_change", here.address.pk))
    assert "It bears no signature" in told
    assert "Compare the secrets" in told
    here.post([event()])
    listed = f"{page('delivery_changelist')}?address__id__exact={here.address.pk}"
    assert listed in told
    assert "1 delivery" in shown(browser(User.objects.get(username="root")), listed)
    assert "0 deliveries" in shown(browser(User.objects.get(username="root")), listed + "0")


def test_the_overview_counts_what_waits_was_given_up_and_was_refused(here: World) -> None:
    here.post([event("7"), event("8", account="nobody")])
    here.post(b"no json")
    here.post([event()], secret="")
    told = " ".join(shown(administrator(), reverse("admin:index")).split())
    for label, count in (
        ("waiting", 1),
        ("given up", 0),
        ("of no connected account", 1),
        ("could not be read", 1),
        ("refused today", 1),
    ):
        assert f"<dt>{label}</dt><dd><a href=" in told
        assert told.partition(f"<dt>{label}</dt>")[2].partition("</a>")[0].endswith(f">{count}"), label
    stranger = User.objects.create_user("eve", "eve@example.com", "x", is_staff=True)
    assert "home-inbox" not in shown(browser(stranger), reverse("admin:index"))


def test_the_list_costs_the_same_for_few_events_and_for_many(here: World, django_assert_max_num_queries: object) -> None:
    here.post([event(str(number)) for number in range(40)])
    root = administrator()
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        shown(root, page("inboxevent_changelist"))
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        shown(root, page("delivery_changelist"))


def syncline(*arguments: str) -> str:
    ran = CliRunner().invoke(main, ["inbox", *arguments], catch_exceptions=False, env={"COLUMNS": "200"})
    return f"{ran.exit_code} {ran.output}"


def test_the_command_lists_counts_and_replays(here: World) -> None:
    here.post([event("7"), event("8", account="nobody")])
    here.post(b"no json")
    inbox.drain(5)
    assert "things 7" in syncline("list")
    assert "could not be read: The body is no JSON." in syncline("list")
    assert "things 7" not in syncline("list", "--state", "unroutable")
    assert "No event fits." in syncline("list", "--state", "dead")
    assert "1 events and 0 unreadable" in syncline("replay", "--state", "unroutable", "--dry-run")
    assert InboxEvent.objects.count() == 2
    assert syncline("replay", "--state", "unroutable").startswith("0 Read 1 times: 1 events made, 0 on")
    told = syncline("replay", "--delivery", str(Delivery.objects.earliest("pk").pk))
    assert told.startswith("0 Read 1 times: 2 events made, 1 on")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay"], "Say what to replay"),
        (["replay", "--state", "sad"], "'sad' is none of waiting, done"),
        (["replay", "--kind", "sad"], "'sad' is none of created, changed"),
        (["replay", "--delivery", "99"], "There is no delivery 99"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_a_sentence(here: World, arguments: list[str], sentence: str) -> None:
    told = syncline(*arguments)
    assert told.startswith("1 Error: ")
    assert sentence in told
