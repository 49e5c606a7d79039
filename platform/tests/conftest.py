"""A toy vendor for the tests of connections and catalog: an HTTP server with accounts, OAuth and objects, and its connector."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import override_settings
from syncline import registry
from syncline.contract import (
    Account,
    AuthMethod,
    Capability,
    ConnectorInfo,
    ConnectorSpec,
    Kind,
    Limit,
    ObjectType,
    Op,
    Property,
    Session,
    hookimpl,
)

CLIENT_SECRET = "client-s3cr3t-canary"


class Vendor:
    """What the server knows. Refresh tokens are single-use: who presents an old one is refused, as strict vendors do."""

    def __init__(self) -> None:
        self.account = {"id": "42", "name": "Toy account"}
        self.objects: dict[str, list[str]] = {"things": ["name", "size"]}
        self.access, self.refresh, self.static_token = "", "refresh-0", "static-token-canary"
        self.codes: dict[str, dict[str, str]] = {}
        self.calls: list[str] = []
        self.token_calls: list[dict[str, str]] = []
        self.refuse: dict[str, Any] | None = None
        self.status, self.delay, self.expires_in = 200, 0.0, 1800.0
        self.admits: Callable[[dict[str, str]], bool] = lambda _form: True
        self.told: dict[str, str] = {}
        self.lock, self.numbers = threading.Lock(), itertools.count(1)
        self.url = ""

    def give_code(self, url: str) -> dict[str, str]:
        """What a person agreeing on the vendor's page leads to: the query of the callback."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        code = f"code-canary-{next(self.numbers)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        with self.lock:
            self.token_calls.append(form)
        time.sleep(self.delay)
        with self.lock:
            if self.status != 200:
                return self.status, self.refuse or {}
            if form.get("client_secret") != CLIENT_SECRET and "assertion" not in form:
                return 401, {"error": "invalid_client"}
            if not self._grant_fits(form):
                return 400, {"error": "invalid_grant", "error_description": f"bad {form.get('refresh_token')}"}
            number = next(self.numbers)
            if form["grant_type"] not in {"authorization_code", "refresh_token"}:
                self.access = f"access-canary-{number}"
                return 200, {"access_token": self.access, **self.told}
            self.access, self.refresh = f"access-canary-{number}", f"refresh-canary-{number}"
            return 200, {"access_token": self.access, "refresh_token": self.refresh, "expires_in": self.expires_in}

    def _grant_fits(self, form: dict[str, str]) -> bool:
        if form["grant_type"] == "authorization_code":
            return self._code_fits(form)
        return form["refresh_token"] == self.refresh if form["grant_type"] == "refresh_token" else self.admits(form)

    def _code_fits(self, form: dict[str, str]) -> bool:
        asked = self.codes.pop(form["code"], None)
        if asked is None or asked["redirect_uri"] != form["redirect_uri"]:
            return False
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]

    def revoke(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        return 200, {}

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        if path == "/token":
            return self.token(_form(body))
        if path == "/revoke":
            return self.revoke(_form(body))
        if headers.get("Authorization") not in {f"Bearer {self.access}", f"Bearer {self.static_token}"}:
            return 401, {"error": "who are you?"}
        if path == "/me":
            return 200, self.account
        if method == "POST":
            self.objects[path.rsplit("/", 1)[-1]] += json.loads(body)
        return 200, self.objects


def _form(body: bytes) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(body.decode()).items()}


LIMITS = (
    Limit("calls", "app_account", "every call", 10.0, 100),
    Limit("daily", "account", "every call of a day", 86_400.0, 5_000, every_call=True),
)


SIGNED = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "title": "User name"},
        "private_key": {"type": "string", "title": "Key", "writeOnly": True, "contentMediaType": "application/x-pem-file"},
        "audience": {"type": "string", "default": "https://login.toy.example"},
    },
    "required": ["username", "private_key", "audience"],
    "additionalProperties": False,
}


class Toy(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        schema = {
            "type": "object",
            "properties": {
                "url": {"type": "string", "format": "uri", "title": "Address"},
                "region": {"type": "string", "enum": ["eu", "us"], "default": "eu"},
                "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
            },
            "required": ["url"],
            "additionalProperties": False,
        }
        able = frozenset({Capability.CHECK, Capability.DISCOVER, Capability.CREATE_PROPERTIES})
        return ConnectorInfo("toy", "Toy", "1", ">=1,<2", able, settings_schema=schema, hosts=("*.toy.example",), limits=LIMITS)

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        secret = {"type": "string", "writeOnly": True, "title": "Access token", "minLength": 5}
        schema = {"type": "object", "properties": {"token": secret}, "required": ["token"], "additionalProperties": False}
        oauth = AuthMethod(
            "oauth", "Log in", "oauth2", {}, "{url}/authorize?x=1", "{url}/token", "{url}/revoke", scopes=("a", "b")
        )
        app = AuthMethod(
            "app", "The app itself", "oauth2", token_url="{url}/token", grant="client_credentials", agrees={"at": "url"}
        )
        signed = AuthMethod("signed", "Signed", "oauth2", SIGNED, token_url="{url}/token", grant="jwt_bearer")
        return [oauth, AuthMethod("token", "Token", "token", schema), app, signed]

    @hookimpl
    def check(self, session: Session) -> Account:
        found = session.http.request("GET", session.settings["url"] + "/me", repeatable=True).json()
        return Account(found["id"], found["name"], "https://toy.example/42")

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        found = session.http.request("GET", session.settings["url"] + "/objects").json()
        return [
            ObjectType(key, key.title(), tuple(Property(name, name.title(), Kind.STRING) for name in names), {Op.UPSERT: 10})
            for key, names in found.items()
        ]

    @hookimpl
    def create_properties(self, session: Session, object_type: ObjectType, properties: Sequence[Property]) -> Sequence[str]:
        names = [one.name for one in properties]
        session.http.request("POST", f"{session.settings['url']}/objects/{object_type.key}", json=names)
        return names


def _handler(vendor: Vendor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = vendor.answer(self.command, urlsplit(self.path).path, self.headers, body)
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        do_GET = do_POST = _serve  # noqa: N815 - the base class calls these names

        def log_message(self, format: str, *args: Any) -> None:
            """The test's output is not its log."""

    return Handler


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    """The toy vendor, running, with its connector as the only one installed."""
    vendor = Vendor()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(vendor))
    server.daemon_threads = True
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    module = ModuleType("toy_vendor_connector")
    module.Toy = Toy  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    entry = EntryPoint("toy", f"{module.__name__}:Toy", "syncline.connectors")
    with registry.using(registry.Registry([entry])), override_settings(SYNCLINE_ALLOW_LOOPBACK=True):
        yield vendor
    server.shutdown()
    server.server_close()
    thread.join()
    del sys.modules[module.__name__]


@pytest.fixture
def estates(vendor: Vendor, db: None) -> Iterator[tuple[Any, Any]]:
    """Ann's and Bob's connections, syncs, runs and links, as `administering.world` makes them."""
    from administering import world

    with world.plugins():
        yield world.estate("ann", vendor.url), world.estate("bob", vendor.url)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A `pulling.world.World`: an account in memory, users here, and syncs that pull or go both ways."""
    from pulling.world import opened

    with opened(monkeypatch) as made:
        yield made


@pytest.fixture
def logged_in(world: Any, client: Any) -> None:
    """`client` is the owner of the `world`."""
    client.force_login(world.owner)
