"""What changed in the account stands where a person looks for it, and can be dealt with there and on the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from syncline.catalog import service as catalog
from syncline.cli import main
from syncline.contract import Kind, Retryable
from syncline.models import ObjectSnapshot, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.account import NICK, Account  # noqa: E402
from pushing.lab import Lab, installed  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)
RULES = {"name": {}, "email": {}, "city": {}, "nick": {"source": "username"}, "size": {"source": "city"}}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def lab(account: Account, client: Client) -> Iterator[Lab]:
    with installed(account):
        lab = Lab(account)
        client.force_login(lab.owner)
        yield lab


@pytest.fixture
def sync(lab: Lab, account: Account) -> Sync:
    """Its account lost a property, changed the type of another and took a choice away."""
    made = lab.sync(RULES)
    account.lose("nick")
    account.change("city", kind=Kind.NUMBER)
    account.without_choice("size", "huge")
    account.known["other"] = NICK.__class__("other", "Other")
    catalog.refresh(lab.connection)
    return made


def page(client: Client, sync: Sync) -> str:
    return client.get(reverse("admin:syncline_sync_change", args=[sync.pk])).content.decode()


def do(client: Client, sync: Sync, name: str, **data: str) -> str:
    return client.post(reverse("admin:syncline_sync_do", args=[sync.pk, name]), data, follow=True).content.decode()


def test_the_syncs_page_says_what_changed_and_what_to_do(client: Client, sync: Sync) -> None:
    text = page(client, sync)

    assert "3 fields changed in the account since version 1 was published" in text
    assert "no longer has the property “nick”" in text
    assert "was of type string when the mapping was published; it is number now" in text
    assert "no longer has the choice huge" in text
    assert text.count("noticed ") == 3
    assert text.count("Accept: publish again") == 2
    assert text.count("Switch the rule off") == 3
    assert text.count('href="#changed"') == 3  # beside the rules


def test_a_rule_is_switched_off_and_the_rest_accepted(client: Client, sync: Sync) -> None:
    assert "switched off in the draft" in do(client, sync, "leave-out", target="nick")
    assert "The draft has no rule that writes “nick”" in do(client, sync, "leave-out", target="nick")
    assert "Published as version 2" in do(client, sync, "publish")
    assert "changed in the account since" not in page(client, sync)


def test_what_is_restored_there_disappears_when_the_account_is_asked(client: Client, sync: Sync, account: Account) -> None:
    account.known["nick"] = NICK
    account.change("city", kind=Kind.STRING)
    assert "one change still concerns this mapping" in do(client, sync, "refresh-catalog")

    account.change("size", choices=Account().known["size"].choices)
    assert "everything this mapping writes is as it was" in do(client, sync, "refresh-catalog")
    assert "changed in the account since" not in page(client, sync)


def test_catalog_and_overview_tell_of_it(client: Client, sync: Sync) -> None:
    snapshot = ObjectSnapshot.objects.get(connection=sync.connection, key="people")
    history = client.get(reverse("admin:syncline_objectsnapshot_change", args=[snapshot.pk])).content.decode()
    assert "without huge" in history
    assert "kind: string → number" in history
    assert "Nick name, string" in history

    overview = client.get("/admin/").content.decode()
    address = reverse("admin:syncline_sync_change", args=[sync.pk])
    assert overview.count(f'href="{address}#changed"') == 1
    assert [overview.count(f"<code>{name}</code>") for name in ("city", "nick", "size", "name")] == [1, 1, 1, 0]

    client.force_login(User.objects.create_user("bob", is_staff=True))
    assert "#changed" not in client.get("/admin/").content.decode()
    assert client.post(reverse("admin:syncline_sync_do", args=[sync.pk, "leave-out"]), {"target": "size"}).status_code in (
        302,
        404,
    )
    assert sync.rules.get(target="size").enabled


def test_a_sync_set_to_stop_says_that_it_does_not_run(client: Client, sync: Sync) -> None:
    Sync.objects.update(drift_policy=Sync.DriftPolicy.STOP)
    assert page(client, sync).count("it is set to stop at such changes") == 3


def drift(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["drift", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_command_lists_what_touches_mappings(sync: Sync, account: Account) -> None:
    status, said = drift()
    assert status == 0
    assert "choices removed" in said
    assert "Publish the mapping again to write the new type" in said
    assert "other" not in said.split()
    assert drift("--fail-level", "open")[0] == 1
    assert drift(sync.name)[1] == drift(str(sync.pk))[1] == said

    status, everything = drift("--all")
    assert status == 0
    assert "Changed, but written by no published mapping" in everything
    assert "other" in everything.split()

    status, unknown = drift("nothing of ours")
    assert status == 1
    assert f"{sync.pk} ({sync.name})" in unknown


def test_the_command_asks_the_accounts_first_when_told_to(sync: Sync, account: Account) -> None:
    fresh = Account()
    account.known = fresh.known
    assert "Nothing changed that a published mapping writes." in drift("--refresh", "--fail-level", "open")[1]

    account.cannot_tell = Retryable("There is no answer.")
    status, said = drift("--refresh")
    assert (status, "could not be asked: There is no answer." in said) == (1, True)
