"""Connects the demo's account the way a person does: by the connect button, the vendor's page and the way back."""

from __future__ import annotations

from urllib.parse import urlsplit

import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from syncline.connections.models import Connection, ConnectionState, Registration
from syncline_hubspot.sandbox.process import RunningSandbox

CLIENT_ID, CLIENT_SECRET = "sandbox-client", "sandbox-secret"


class NotConnected(Exception):
    """The sign-in at the sandbox did not end in a working connection."""


def connect_by_oauth(owner: User, sandbox: RunningSandbox, name: str = "HubSpot sandbox") -> Connection:
    """The real code flow: state, PKCE and exact redirect URI over HTTP to the sandbox, the host's own views on this side."""
    registration = Registration.objects.create(
        connector="hubspot",
        name="Demo app",
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
        settings={"api_url": sandbox.url, "app_url": sandbox.url},
    )
    connection = Connection.objects.create(
        connector="hubspot", registration=registration, name=name, owner=owner, auth_method="oauth"
    )
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns when it is missing
    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    begun = browser.post(reverse("oauth:start", args=[connection.pk]))
    agreed = requests.get(begun["Location"], allow_redirects=False, timeout=20)
    back = urlsplit(agreed.headers.get("Location", ""))
    browser.get(back.path, QUERY_STRING=back.query)
    connection.refresh_from_db()
    if connection.state != ConnectionState.OK:
        raise NotConnected(connection.state_reason or f"The sandbox answered {agreed.status_code} instead of a way back.")
    return connection
