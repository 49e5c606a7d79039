"""A person connects HubSpot by OAuth through the browser's addresses, and the connection lives through expiry and revocation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from django.contrib.auth.models import User
from django.test import Client, override_settings
from syncline.catalog import service as catalog
from syncline.connections import service
from syncline.connections.sessions import open_session
from syncline.connections.tokens import read
from syncline.contract import AuthError
from syncline.models import Connection, Registration
from syncline_hubspot.sandbox.process import RunningSandbox
from syncline_hubspot.sandbox.server import OAuthApp

pytestmark = pytest.mark.django_db(transaction=True)
VERSIONS = ["v3", "2026-03", "2026-09"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox() as running:
        yield running


def connected(client: Client, sandbox: RunningSandbox, api_version: str) -> Connection:
    """Registration, connection, the vendor's page and back, as a browser does it."""
    app, owner = OAuthApp(), User.objects.create_user("ann")
    where = {"api_url": sandbox.url, "app_url": sandbox.url, "api_version": api_version}
    registration = Registration.objects.create(
        connector="hubspot", name="app", client_id=app.client_id, client_secret=app.client_secret, settings=where
    )
    connection = Connection.objects.create(connector="hubspot", name="c", owner=owner, registration=registration)
    client.force_login(owner)
    there = client.post(f"/oauth/start/{connection.pk}/")
    agreed = requests.get(there["Location"], allow_redirects=False, timeout=10)
    assert agreed.headers["Location"].startswith("http://127.0.0.1:8000/oauth/callback/?"), agreed.text
    back = client.get(agreed.headers["Location"].removeprefix("http://127.0.0.1:8000"))
    assert back.status_code == 302
    connection.refresh_from_db()
    return connection


@pytest.mark.parametrize("api_version", VERSIONS)
@override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUBLIC_URL="http://127.0.0.1:8000")
def test_connecting_checking_and_discovering(client: Client, sandbox: RunningSandbox, api_version: str) -> None:
    connection = connected(client, sandbox, api_version)

    assert (connection.state, connection.state_reason) == ("ok", "")
    assert connection.account_name == f"HubSpot account {connection.account_id}"
    assert {"companies", "contacts"} <= set(catalog.refresh(connection).added)
    assert catalog.object_type(connection, "companies").property("domain") is not None
    assert not catalog.refresh(connection)


@override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUBLIC_URL="http://127.0.0.1:8000")
def test_an_expired_token_is_renewed_and_a_revoked_permission_asks_for_reconnection(
    client: Client, sandbox: RunningSandbox
) -> None:
    connection = connected(client, sandbox, "2026-09")
    before = read(connection.pk)
    sandbox.admin.advance(3600)  # the token runs out there, unknown to us: only the 401 tells
    assert service.check(connection).id == connection.account_id
    assert read(connection.pk).version == before.version + 1

    sandbox.admin.revoke_tokens()
    with pytest.raises(AuthError, match="Reconnect"):
        service.check(connection)
    assert connection.state == "reconnect"
    with pytest.raises(AuthError):
        open_session(connection)
