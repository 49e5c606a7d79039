"""Salesforce connected without a log-in, through the host: by client credentials and by JWT, against the sandbox."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from django.urls import reverse
from syncline.connections import service
from syncline.connections.sessions import open_session
from syncline.contract import AuthError, PullRequest
from syncline.models import Connection, Registration
from syncline_salesforce import objects
from syncline_salesforce.client import Client as Calls
from syncline_salesforce.connector import Salesforce
from syncline_salesforce.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running, override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SECURE_SSL_REDIRECT=False):
        yield running


@pytest.fixture
def ann(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("ann"))
    return client


@pytest.fixture
def connection(sandbox: RunningSandbox, ann: Client) -> Connection:
    app = Registration.objects.create(
        connector="salesforce",
        name="app",
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        settings={"instance_url": sandbox.url, "pubsub_url": sandbox.pubsub_url},
    )
    owner = User.objects.get()
    return Connection.objects.create(connector="salesforce", name="Org", owner=owner, registration=app)


def typed(connection: Connection, sandbox: RunningSandbox, **changes: str) -> dict[str, str]:
    known = {
        "username": sandbox.username, "audience": "https://login.salesforce.com", "private_key": sandbox.private_key, **changes,
    }  # fmt: skip
    return {
        "name": "Org", "owner": str(connection.owner_id), "registration": str(connection.registration_id), "sign_in": "jwt",
        "settings-instance_url": sandbox.url, "settings-api_version": "v67.0", "settings-pubsub_url": sandbox.pubsub_url,
        "credentials-token-token": "", "grants-TOTAL_FORMS": "0", "grants-INITIAL_FORMS": "0",
        **{f"credentials-jwt-{name}": value for name, value in known.items()},
    }  # fmt: skip


def page_of(connection: Connection) -> str:
    return reverse("admin:syncline_connection_change", args=[connection.pk])


def test_the_app_connects_by_itself_and_follows_what_changes(
    connection: Connection, sandbox: RunningSandbox, ann: Client
) -> None:
    ann.post(f"/oauth/start/{connection.pk}/?method=client_credentials")
    connection.refresh_from_db()
    assert (connection.state, connection.account_id) == ("ok", "00D000000000001EAA")
    sandbox.admin.config(expire=True)  # the session ends; Salesforce says so only when it is used
    [made] = sandbox.admin.seed("Account", [{"Name": "Acme"}])
    session = open_session(connection)
    account = next(one for one in objects.discover(Calls(session)) if one.key == "Account")
    pages = Salesforce().pull(session, account, PullRequest(("Name",), follow=True))
    assert [(record.id, dict(record.properties)) for record in next(iter(pages)).records] == [(made, {"Name": "Acme"})]
    pages.close()  # type: ignore[attr-defined]


def test_a_stream_survives_the_end_of_its_session(connection: Connection, sandbox: RunningSandbox) -> None:
    service.sign_in(connection, "client_credentials")
    session = open_session(connection)
    account = next(one for one in objects.discover(Calls(session)) if one.key == "Account")
    pages = iter(Salesforce().pull(session, account, PullRequest(("Name",), follow=True)))
    sandbox.admin.seed("Account", [{"Name": "Before"}])
    assert next(pages).records
    before = Connection.objects.get().token_version
    sandbox.admin.config(expire=True)
    sandbox.admin.streams(end="UNAUTHENTICATED")
    sandbox.admin.seed("Account", [{"Name": "After"}])
    assert [record.properties["Name"] for record in next(pages).records] == ["After"]
    assert Connection.objects.get().token_version == before + 1
    pages.close()  # type: ignore[attr-defined]


def test_a_statement_is_signed_with_the_key_that_was_typed(connection: Connection, sandbox: RunningSandbox, ann: Client) -> None:
    refused = ann.post(page_of(connection), typed(connection, sandbox, username="someone@else.example")).content.decode()
    assert "hasn&#x27;t approved this consumer" in refused
    assert "Nothing was saved." in refused
    ann.post(page_of(connection), typed(connection, sandbox))
    connection.refresh_from_db()
    assert (connection.state, connection.auth_method, connection.account_name) == ("ok", "jwt", "Sandbox")
    sandbox.admin.config(expire=True)
    assert Salesforce().check(open_session(connection)).id == "00D000000000001EAA"
    shown = ann.get(page_of(connection)).content.decode()
    assert sandbox.private_key.splitlines()[3] not in refused + shown


def test_a_key_that_the_app_does_not_know_is_refused(connection: Connection, sandbox: RunningSandbox) -> None:
    with RunningSandbox() as other:
        known = {"username": sandbox.username, "audience": "https://login.salesforce.com", "private_key": other.private_key}
    with pytest.raises(AuthError, match=r"invalid_grant.*invalid assertion"):
        service.connect(connection, "jwt", known)
    assert Connection.objects.get().credentials is None


def test_the_page_asks_for_the_key_in_a_box_and_offers_a_button_for_each_way(connection: Connection, ann: Client) -> None:
    shown = ann.get(page_of(connection)).content.decode()
    assert "Connect: Log in at Salesforce" in shown
    assert "Connect: Client credentials, nobody logs in" in shown
    assert "Connect: JWT" not in shown, "its key is to be typed first"
    assert '<textarea name="credentials-jwt-private_key"' in shown
