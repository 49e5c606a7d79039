"""Signing in without a person: the app by itself, or by a signed statement. The guarantees are those of refresh."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.contrib.auth.models import User
from django.core import serializers
from django.db import connections
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from joserfc import jwt
from joserfc.jwk import RSAKey
from syncline.connections import service
from syncline.connections.redaction import redact
from syncline.connections.sessions import open_session
from syncline.contract import AuthError, AuthMethod, ConfigError
from syncline.contract.testing.check import Breach
from syncline.contract.testing.checks.description import _well_formed
from syncline.models import Connection, Registration

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "client-s3cr3t-canary"
TOKEN_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def pem(key: Any) -> str:
    plain = serialization.NoEncryption()
    text: str = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()
    return text


RSA = rsa.generate_private_key(65537, 2048)
KEY = pem(RSA)
MIDDLE = KEY.splitlines()[5]
TYPED = {"username": "ann@toy.example", "private_key": KEY, "audience": "https://login.toy.example"}


@pytest.fixture
def ann() -> User:
    return User.objects.create_superuser("ann", password="pw")


def made(vendor: Any, owner: User, method: str = "", **columns: Any) -> Connection:
    registration = Registration.objects.create(connector="toy", name="app", client_id="id", client_secret=SECRET)
    columns = {"settings": {"url": vendor.url}, "auth_method": method, **columns}
    return Connection.objects.create(connector="toy", name="c", owner=owner, registration=registration, **columns)


def signed(vendor: Any, owner: User) -> Connection:
    connection = made(vendor, owner)
    service.connect(connection, "signed", TYPED)
    vendor.token_calls.clear()
    return connection


def start_of(connection: Connection, method: str) -> str:
    return f"{reverse('oauth:start', args=[connection.pk])}?method={method}"


def page_of(connection: Connection) -> str:
    return reverse("admin:syncline_connection_change", args=[connection.pk])


def at_once(number: int, work: Callable[[], Any]) -> list[Any]:
    barrier = threading.Barrier(number)

    def run(_: int) -> Any:
        barrier.wait()
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - handed to the test
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_the_app_connects_by_itself_at_the_press_of_a_button(vendor: Any, ann: User, client: Client) -> None:
    connection = made(vendor, ann)
    client.force_login(ann)
    assert "Connect: The app itself" in client.get(page_of(connection)).content.decode()
    answer = client.post(start_of(connection, "app"), follow=True)

    assert [str(one) for one in answer.context["messages"]] == ["c is connected to Toy account."]
    connection.refresh_from_db()
    assert (connection.state, connection.auth_method, connection.account_id) == ("ok", "app", "42")
    assert connection.credentials == {"access_token": "access-canary-1", "refresh_token": ""}
    assert connection.token_expires_at is None
    assert vendor.token_calls == [{"grant_type": "client_credentials", "client_id": "id", "client_secret": SECRET}]
    assert "Connect again: The app itself" in client.get(page_of(connection)).content.decode()


def test_what_is_signed_names_app_user_and_audience_for_a_few_minutes(vendor: Any, ann: User) -> None:
    connection = made(vendor, ann)
    service.connect(connection, "signed", TYPED)

    [form] = vendor.token_calls
    assert set(form) == {"grant_type", "assertion"}, "the secret has no part in it"
    assert form["grant_type"] == TOKEN_TYPE
    public = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    read = jwt.decode(form["assertion"], RSAKey.import_key(public))
    assert read.header["alg"] == "RS256"
    assert (read.claims["iss"], read.claims["sub"], read.claims["aud"]) == ("id", TYPED["username"], TYPED["audience"])
    assert 0 < read.claims["exp"] - time.time() <= 180
    connection.refresh_from_db()
    assert (connection.state, connection.credentials) == ("ok", TYPED)


def test_the_typed_key_stays_when_tokens_come_and_go(vendor: Any, ann: User) -> None:
    connection = signed(vendor, ann)
    session = open_session(connection)
    for _ in range(2):
        vendor.access = "ended"
        assert session.http.request("GET", vendor.url + "/me").status == 200
        session = open_session(connection)

    connection.refresh_from_db()
    assert connection.credentials["private_key"] == KEY
    assert connection.credentials["access_token"] == vendor.access
    assert len(vendor.token_calls) == 2, "the first token, and one after the 401"


@pytest.mark.parametrize("method", ["app", "signed"])
def test_a_401_gets_one_new_token_for_all_processes(vendor: Any, ann: User, method: str) -> None:
    connection = signed(vendor, ann) if method == "signed" else made(vendor, ann)
    service.sign_in(connection, method)
    vendor.token_calls.clear()
    vendor.access, vendor.delay = "ended early", 0.3
    answers = at_once(8, lambda: open_session(connection).http.request("GET", vendor.url + "/me").json())

    assert answers == [vendor.account] * 8
    assert len(vendor.token_calls) == 1


def test_a_refusal_marks_the_connection_once_and_nobody_asks_again(
    vendor: Any, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    connection = signed(vendor, ann)
    service.sign_in(connection, "signed")
    vendor.token_calls.clear()
    vendor.access, vendor.admits = "ended early", lambda _form: False
    with caplog.at_level(logging.INFO):
        errors = at_once(8, lambda: open_session(connection).http.request("GET", vendor.url + "/me"))

    assert {type(error) for error in errors} == {AuthError}
    assert len(vendor.token_calls) == 1
    connection.refresh_from_db()
    assert connection.state == "reconnect"
    assert "does not accept what was signed" in connection.state_reason
    assert [record.levelname for record in caplog.records if record.name == "syncline.connections"] == ["WARNING"]
    with pytest.raises(AuthError, match="signed"):
        open_session(connection)
    assert MIDDLE not in caplog.text + connection.state_reason
    vendor.admits = lambda _form: True
    assert service.check(connection).id == "42", "a person's check tries again"
    connection.refresh_from_db()
    assert connection.state == "ok"


def test_a_key_entered_while_a_refusal_is_under_way_is_not_marked(
    vendor: Any, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compare-and-set: whoever was refused with the old key reads again."""
    connection = signed(vendor, ann)
    newer = rsa.generate_private_key(65537, 2048)

    def entered_meanwhile(form: dict[str, str]) -> bool:
        if len(vendor.token_calls) == 1:
            service.save_credentials(Connection.objects.get(), "signed", {**TYPED, "private_key": pem(newer)})
            connections.close_all()  # this is a thread of the vendor's server
            return False
        return True

    vendor.admits = entered_meanwhile
    assert open_session(connection).http.request("GET", vendor.url + "/me").status == 200
    connection.refresh_from_db()
    assert (connection.state, connection.credentials["private_key"]) == ("new", pem(newer))


def test_a_token_that_ends_is_renewed_before(vendor: Any, ann: User) -> None:
    vendor.told = {"expires_in": "1000"}
    connection = made(vendor, ann)
    service.sign_in(connection, "app")
    assert open_session(connection).http.request("GET", vendor.url + "/me").status == 200
    assert len(vendor.token_calls) == 1
    soon = timezone.now() + dt.timedelta(seconds=20)
    Connection.objects.update(token_expires_at=soon, token_issued_at=soon - dt.timedelta(seconds=1000))
    assert open_session(connection).http.request("GET", vendor.url + "/me").status == 200
    assert len(vendor.token_calls) == 2


@pytest.mark.parametrize(
    "key", ["no key", KEY.replace("A", "%"), pem(ec.generate_private_key(ec.SECP256R1()))], ids=["text", "spoilt", "elliptic"]
)
def test_a_key_that_cannot_sign_is_said_before_anything_is_stored_or_asked(vendor: Any, ann: User, key: str) -> None:
    connection = made(vendor, ann)
    with pytest.raises(ConfigError, match="Enter an RSA key in PEM form") as caught:
        service.connect(connection, "signed", {**TYPED, "private_key": key})
    assert key not in str(caught.value)
    assert vendor.token_calls == []
    connection.refresh_from_db()
    assert connection.credentials is None


def test_the_vendors_reason_is_told(vendor: Any, ann: User) -> None:
    vendor.status, vendor.refuse = 400, {"error": "invalid_grant", "error_description": "user hasn't approved this consumer"}
    with pytest.raises(AuthError, match="user hasn't approved this consumer"):
        service.connect(made(vendor, ann), "signed", TYPED)


def test_a_token_for_another_address_is_refused(vendor: Any, ann: User, client: Client) -> None:
    connection = made(vendor, ann)
    vendor.told = {"at": "https://eu7.toy.example/"}
    client.force_login(ann)
    shown = client.post(start_of(connection, "app"), follow=True).content.decode()

    assert "found at https://eu7.toy.example/, but the settings name" in shown
    connection.refresh_from_db()
    assert (connection.credentials, connection.state) == (None, "new")
    vendor.told = {"at": vendor.url.upper() + "/"}
    service.sign_in(connection, "app")


def test_only_the_owner_connects(vendor: Any, ann: User, client: Client) -> None:
    connection = made(vendor, ann)
    other = User.objects.create_user("bob", is_staff=True)
    connection.grants.create(user=other, may_run=True)
    client.force_login(other)
    shown = client.post(start_of(connection, "app"), follow=True).content.decode()

    assert "Only its owner may connect c." in shown
    assert vendor.token_calls == []


def test_a_key_is_typed_into_the_form_proven_and_never_shown(vendor: Any, ann: User, client: Client) -> None:
    connection = made(vendor, ann)
    client.force_login(ann)
    sent = {
        "name": "c", "owner": str(ann.pk), "registration": str(connection.registration_id), "sign_in": "signed",
        "settings-url": vendor.url, "settings-region": "eu", "settings-size": "5", "credentials-token-token": "",
        "grants-TOTAL_FORMS": "0", "grants-INITIAL_FORMS": "0", "credentials-signed-username": TYPED["username"],
        "credentials-signed-audience": TYPED["audience"], "credentials-signed-private_key": KEY,
    }  # fmt: skip
    vendor.admits = lambda _form: False
    refused = client.post(page_of(connection), sent).content.decode()
    assert "does not accept what was signed" in refused
    vendor.admits = lambda _form: True
    client.post(page_of(connection), sent)
    connection.refresh_from_db()
    assert (connection.state, connection.auth_method) == ("ok", "signed")
    assert connection.credentials["private_key"].split() == KEY.split()
    shown = client.get(page_of(connection)).content.decode()
    assert "Connect again: Signed" in shown
    assert TYPED["username"] in shown
    for page in (refused, shown, serializers.serialize("json", Connection.objects.all())):
        assert MIDDLE not in page


def test_a_key_is_taken_out_of_what_is_logged_even_in_parts() -> None:
    line = KEY.splitlines()[3]
    assert MIDDLE not in redact(f"failed with {KEY} at last")
    assert redact(f"failed with {KEY} at last").endswith("at last")
    assert line not in redact(f"line 3: {line}", [KEY])
    assert MIDDLE not in redact(json.dumps({"private_key": KEY}), [KEY])
    assert MIDDLE not in redact(repr(KEY[: len(KEY) // 2]))


def test_disconnecting_forgets_the_key(vendor: Any, ann: User) -> None:
    connection = signed(vendor, ann)
    service.disconnect(connection)
    connection.refresh_from_db()
    assert connection.credentials is None


def test_a_method_that_does_not_ask_for_what_it_signs_with_is_a_breach() -> None:
    def ask(**changes: Any) -> AuthMethod:
        return AuthMethod("k", "K", "oauth2", token_url="https://x/token", **changes)

    _well_formed(ask(grant="client_credentials"), set())
    for bad in (ask(grant="jwt_bearer"), ask(grant="password"), ask(), ask(grant="client_credentials", agrees={"a": "b"})):
        with pytest.raises(Breach):
            _well_formed(bad, set())


def test_the_assertion_is_no_secret_of_the_registration(vendor: Any, ann: User) -> None:
    """What was signed may be read by the vendor's proxies: nothing but claims is in it."""
    signed(vendor, ann)
    service.sign_in(Connection.objects.get(), "signed")
    body = vendor.token_calls[0]["assertion"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    assert set(claims) == {"iss", "sub", "aud", "iat", "exp"}
