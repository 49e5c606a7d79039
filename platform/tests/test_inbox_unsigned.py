"""Vendors that sign nothing: taken without a secret, held to one that is set, and the secret they send along is not kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings
from syncline import registry
from syncline.connections.models import Connection
from syncline.contract import AuthMethod, Capability, ConnectorInfo, ConnectorSpec, hookimpl
from syncline.contract.webhooks import Event, EventKind, Verification, WebhookRequest
from syncline.inbox import addresses
from syncline.inbox.models import Delivery, Refusal, WebhookAddress
from syncline.pages.webhooks import ready
from syncline.registry import Registry

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import world  # noqa: E402

SECRET = "open ses+me/canary"
pytestmark = pytest.mark.django_db


class Open(ConnectorSpec):
    """Knows who delivers by a secret in a header or in the address, if there is one."""

    @hookimpl
    def describe(self) -> ConnectorInfo:
        able = frozenset({Capability.VERIFY, Capability.PARSE})
        return ConnectorInfo("open", "Open", "1", ">=1,<2", able, unsigned_webhooks=True)

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod("none", "Nothing", "none")]

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        given = [request.headers.get("x-secret", ""), *parse_qs(urlsplit(request.url).query).get("secret", ())]
        if not any(given):
            return Verification.UNSIGNED
        return Verification.GENUINE if set(given) & set(secrets) else Verification.FORGED

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        return [Event(EventKind.CHANGED, object_type="things", remote_id="7")]


@pytest.fixture(autouse=True)
def host() -> Iterator[None]:
    module = ModuleType("open_vendor_connector")
    module.Open = Open  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    entries = [EntryPoint("open", f"{module.__name__}:Open", "syncline.connectors")]
    with registry.using(Registry(entries)), override_settings(SYNCLINE_PUBLIC_URL=world.PUBLIC, ALLOWED_HOSTS=["*"]):
        yield


@pytest.fixture
def own(db: None) -> Connection:
    owner = User.objects.create_user("ann", "ann@example.com", "x")
    return world.connection(owner, "own", "9", connector="open")


@pytest.fixture
def address(own: Connection) -> WebhookAddress:
    return addresses.make(own)


def post(address: WebhookAddress, query: str = "", **headers: str) -> Any:
    """Without a Content-Type, as some programs do."""
    path = f"/hooks/{address.names.get(current=True).slug}/{query}"
    return Client().generic("POST", path, b"{}", content_type="", headers=headers, secure=True)


def test_without_a_secret_what_comes_is_taken_if_the_vendor_signs_nothing(address: WebhookAddress) -> None:
    assert post(address).status_code == 204
    assert Delivery.objects.count() == 1
    assert ready(address)


def test_a_secret_that_is_set_refuses_what_comes_without_it(address: WebhookAddress) -> None:
    addresses.add_secret(address, SECRET)

    answers = [post(address), post(address, **{"X-Secret": "another"}), post(address, **{"X-Secret": SECRET})]

    assert [one.status_code for one in answers] == [401, 401, 204]
    assert dict(Refusal.objects.values_list("cause", "count")) == {"unsigned": 1, "forged": 1}
    assert Delivery.objects.count() == 1


@pytest.mark.parametrize(
    "secret", ["open%20ses%2Bme%2Fcanary", "open+ses%2Bme%2Fcanary", "open%20ses%2bme/canary", "%6fpen+ses%2Bme%2fcanar%79"]
)
def test_a_secret_that_was_sent_along_is_not_kept(address: WebhookAddress, secret: str) -> None:
    addresses.add_secret(address, SECRET)

    assert post(address, f"?a=1%2f&secret={secret}&b").status_code == 204
    assert post(address, **{"X-Secret": SECRET, "X-Kept": "yes"}).status_code == 204

    by_address, by_header = Delivery.objects.order_by("pk")
    assert by_address.url.partition("?")[2] == "a=1%2f&secret=•••&b"
    assert (by_header.headers["x-secret"], by_header.headers["x-kept"]) == ("•••", "yes")
