"""Sessions, states, health, who may see and run, and that no secret shows."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import connection as database
from django.test import override_settings
from syncline import registry
from syncline.connections import access, effective, keyring, service, startup
from syncline.connections.redaction import RedactingLogger, redact
from syncline.connections.sessions import open_session
from syncline.contract import (
    AuthError,
    ConfigError,
    ConnectorFault,
    ConnectorInfo,
    HeaderAuth,
    Permanent,
    Retryable,
    SynclineError,
)
from syncline.models import Connection, ConnectorState, Grant, Installation, Registration

pytestmark = pytest.mark.django_db
TOKEN = {"token": "static-token-canary"}


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def connection(ann: User, vendor: Any) -> Connection:
    made = Connection.objects.create(connector="toy", name="c", owner=ann, settings={"url": vendor.url})
    service.save_credentials(made, "token", TOKEN)
    return made


def test_the_installation_keeps_its_short_id() -> None:
    first = Installation.current_id()

    assert Installation.current_id() == first
    assert len(first) == 8
    assert first.isalnum()
    assert Installation.objects.count() == 1


def test_settings_are_merged_defaults_first_connection_last(vendor: Any, ann: User) -> None:
    registration = Registration.objects.create(
        connector="toy", name="app", settings={"region": "us", "size": 3, "url": "https://a.toy.example"}
    )
    made = Connection.objects.create(
        connector="toy", name="c", owner=ann, registration=registration, settings={"url": vendor.url}
    )
    service.save_credentials(made, "token", TOKEN)
    session = open_session(made)

    assert session.settings == {"url": vendor.url, "region": "us", "size": 3}
    assert session.installation == Installation.current_id()


def test_wrong_settings_are_named_and_mark_the_connection(connection: Connection) -> None:
    connection.settings = {"region": "mars", "size": 99, "colour": "red"}
    connection.save()

    with pytest.raises(ConfigError) as caught:
        open_session(connection)
    sentence = str(caught.value)
    assert "Region must be one of: eu, us." in sentence
    assert "Size must be 9 or less." in sentence
    assert "Address is missing. Fill it in." in sentence
    assert "Colour is not a setting of this connector. Remove it." in sentence
    connection.refresh_from_db()
    assert (connection.state, connection.state_reason) == ("settings", sentence)


def test_only_the_connectors_hosts_may_be_called_and_loopback_only_when_allowed(connection: Connection) -> None:
    refused = pytest.raises(ConfigError, match=r"may not call .*127\.0\.0\.1.*set SYNCLINE_ALLOW_LOOPBACK=1")
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=False), refused:
        open_session(connection).http.request("GET", connection.settings["url"] + "/me")


@pytest.mark.parametrize(
    ("given", "debug", "variable", "allowed"),
    [
        (None, False, "", False),
        (None, False, "1", True),
        (None, True, "", True),
        (False, True, "1", False),
        (True, False, "", True),
    ],
)
def test_when_loopback_is_allowed(
    monkeypatch: pytest.MonkeyPatch, given: bool | None, debug: bool, variable: str, allowed: bool
) -> None:
    monkeypatch.setenv("SYNCLINE_ALLOW_LOOPBACK", variable)
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=given, DEBUG=debug):
        assert effective.loopback_allowed() is allowed


def test_check_names_the_account_and_sets_ok(connection: Connection) -> None:
    account = service.check(connection)

    connection.refresh_from_db()
    assert (account.id, account.name) == ("42", "Toy account")
    assert (connection.state, connection.account_name, connection.account_url) == (
        "ok",
        "Toy account",
        "https://toy.example/42",
    )
    assert connection.checked_at is not None


def test_a_wrong_token_needs_reconnecting_and_a_new_one_mends_it(
    vendor: Any, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    vendor.static_token = "changed-by-the-vendor"
    for _ in range(3):
        with pytest.raises(AuthError, match="Reconnect"):
            service.check(connection)
    assert connection.state == "reconnect"
    assert [record.levelname for record in caplog.records if record.name == "syncline.connections"] == ["WARNING"]
    with pytest.raises(AuthError, match="refused our credentials"):
        open_session(connection)

    service.connect(connection, "token", {"token": "changed-by-the-vendor"})
    connection.refresh_from_db()
    assert (connection.state, connection.state_reason) == ("ok", "")
    assert open_session(connection).http.request("GET", vendor.url + "/me").json() == vendor.account


def test_refused_credentials_are_not_stored(vendor: Any, connection: Connection) -> None:
    service.check(connection)
    with pytest.raises(AuthError):
        service.connect(connection, "token", {"token": "wrong-token"})

    connection.refresh_from_db()
    assert connection.credentials == TOKEN
    assert connection.state == "ok"


def test_a_new_connection_is_proved_before_it_is_saved(vendor: Any, ann: User) -> None:
    draft = Connection(connector="toy", name="new", owner=ann, settings={"url": vendor.url})
    with pytest.raises(AuthError):
        service.connect(draft, "token", {"token": "wrong-token"})
    assert not Connection.objects.exists()

    assert service.connect(draft, "token", TOKEN).id == "42"
    assert (Connection.objects.get().state, Connection.objects.get().auth_method) == ("ok", "token")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [({}, "Access token is missing"), ({"token": "abc"}, "at least 5"), ({"token": "abcdef", "x": 1}, "X is not a setting")],
)
def test_credentials_must_fit_their_schema(connection: Connection, data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        service.save_credentials(connection, "token", data)


def test_credentials_of_another_account_are_refused(vendor: Any, connection: Connection) -> None:
    service.check(connection)
    vendor.account = {"id": "43", "name": "Other"}

    with pytest.raises(ConfigError, match="new connection"):
        service.check(connection)
    assert connection.state == "settings"
    assert connection.account_id == "42"


def test_a_vendor_that_cannot_be_reached_changes_no_state(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    service.check(connection)
    monkeypatch.setattr(service, "CHECK_PATIENCE", 0.0)
    connection.settings = {"url": "http://127.0.0.1:9"}
    connection.save()

    with pytest.raises(Retryable):
        service.check(connection)
    connection.refresh_from_db()
    assert connection.state == "ok"


@pytest.mark.parametrize(
    ("error", "state"),
    [(AuthError("a"), "reconnect"), (ConfigError("a"), "settings"), (Permanent("a"), "settings"), (Retryable("a"), "ok")],
)
def test_what_an_error_means_for_the_connection(connection: Connection, error: SynclineError, state: str) -> None:
    service.check(connection)
    service.note_failure(connection, error)

    connection.refresh_from_db()
    assert connection.state == state


def test_a_missing_connector_parks_and_its_return_brings_the_state_back(connection: Connection) -> None:
    service.check(connection)
    with registry.using(registry.Registry([])):
        with pytest.raises(ConfigError, match="not installed"):
            open_session(connection)
        assert service.park_missing() == (0, 0), "open_session has parked it"
        connection.refresh_from_db()
        assert connection.state == "missing"
        assert "Install its package" in connection.state_reason

    assert service.park_missing() == (0, 1)
    connection.refresh_from_db()
    assert (connection.state, connection.state_reason, connection.credentials) == ("ok", "", TOKEN)


def test_a_connector_switched_off_parks_its_connections(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    service.check(connection)
    ConnectorState.objects.create(key="toy", enabled=False)

    assert service.park_missing() == (1, 0)
    connection.refresh_from_db()
    assert "switched off" in connection.state_reason
    ConnectorState.objects.update(enabled=True)
    monkeypatch.setattr(database, "close", lambda: None)  # the test's transaction lives on it
    startup.begin()
    connection.refresh_from_db()
    assert connection.state == "ok"


def test_an_inactive_owner_parks(connection: Connection, ann: User) -> None:
    ann.is_active = False
    ann.save()
    connection.refresh_from_db()

    with pytest.raises(ConfigError, match=r"owner ann is inactive\. Give it to another owner"):
        open_session(connection)
    assert not access.may_run(ann, connection)


def test_not_connected_yet(connection: Connection) -> None:
    service.disconnect(connection)

    assert (connection.credentials, connection.state) == (None, "new")
    with pytest.raises(AuthError, match="not connected yet"):
        open_session(connection)


def test_who_sees_and_runs(connection: Connection, django_assert_num_queries: Any) -> None:
    bob, cyd, eve = (User.objects.create_user(name) for name in ("bob", "cyd", "eve"))
    team = Group.objects.create(name="team")
    cyd.groups.add(team)
    Grant.objects.create(connection=connection, user=bob)
    Grant.objects.create(connection=connection, group=team, may_run=True)
    root, gone = User.objects.create_superuser("root"), User.objects.create_superuser("gone", is_active=False)
    people = {one.username: one for one in (connection.owner, bob, cyd, eve, root, gone)}

    seeing = {name for name, one in people.items() if access.visible_connections(one).exists()}
    running = {name for name, one in people.items() if access.may_run(one, connection)}
    changing = {name for name, one in people.items() if access.may_change(one, connection)}
    assert (seeing, running, changing) == ({"ann", "bob", "cyd", "root"}, {"ann", "cyd", "root"}, {"ann", "root"})
    assert not access.visible_connections(AnonymousUser()).exists()
    assert not access.may_run(AnonymousUser(), connection)
    with django_assert_num_queries(1):
        assert len(access.visible_connections(cyd)) == 1


def test_no_secret_in_logs_errors_or_repr(vendor: Any, connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    secret = TOKEN["token"]
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "syncline"):
        session = open_session(connection)
        session.log.warning("sent %s and %r", secret, {"Authorization": f"Bearer {secret}"})
        session.http.request("GET", vendor.url + "/me")
        try:
            raise ValueError(f"bad {secret}")
        except ValueError:
            session.log.exception("it failed")
        vendor.static_token = "other"
        with pytest.raises(AuthError) as caught:
            service.check(connection)
    connection.refresh_from_db()
    shown = [caplog.text, str(caught.value), repr(session), repr(connection), str(connection.__dict__), connection.state_reason]

    assert "it failed" in caplog.text
    assert "ValueError" in caplog.text
    assert "GET /me 200" in caplog.text
    assert not [text for text in shown if secret in text]


@pytest.mark.parametrize(
    "text",
    [
        "access_token=abcdef123",
        '{"refresh_token": "abcdef123"}',
        "{'client_secret': 'abcdef123'}",
        "Authorization: Bearer abcdef123",
        "?code=1&hapi_token=abcdef123&x=2",
        "password: abcdef123, next",
    ],
)
def test_what_is_called_a_secret_is_taken_out(text: str) -> None:
    assert "abcdef123" not in redact(text)


def test_words_that_only_sound_secret_stay() -> None:
    sentence = "The token ran out. Enter a new password and look at the secret page."
    assert redact(sentence, ["abc"]) == sentence


def test_a_logger_follows_the_level_of_its_name(caplog: pytest.LogCaptureFixture) -> None:
    log = RedactingLogger("syncline.connector.level", list)
    with caplog.at_level(logging.WARNING, "syncline.connector.level"):
        log.info("quiet")
    with caplog.at_level(logging.INFO, "syncline.connector.level"):
        log.info("loud")

    assert [record.message for record in caplog.records] == ["loud"]


def test_basic_sign_in_and_none(vendor: Any) -> None:
    from syncline.connections.sessions import given_auth
    from syncline.contract import AuthMethod

    basic = given_auth(AuthMethod("b", "B", "basic"), {"username": "u", "password": "p:w"})
    assert dict(basic.headers()) == {"Authorization": "Basic dTpwOnc="}
    assert given_auth(AuthMethod("n", "N", "none"), {}) == HeaderAuth({})


def test_a_connector_cannot_have_secrets_stored_as_plain_settings(connection: Connection) -> None:
    info = ConnectorInfo("x", "X", "1", ">=1", frozenset(), {"properties": {"key": {"writeOnly": True}}})

    with pytest.raises(ConnectorFault, match=r"\(key\), which are not encrypted"):
        effective.settings_of(connection, info)


def test_saving_a_stale_object_brings_back_no_old_token_or_state(connection: Connection) -> None:
    stale = Connection.objects.get(pk=connection.pk)
    service.save_credentials(connection, "token", {"token": "newer-token"})
    service.note_failure(connection, AuthError("told meanwhile"))
    stale.name = "renamed"
    stale.save()

    stored = Connection.objects.get(pk=connection.pk)
    assert (stored.name, stored.state, stored.state_reason) == ("renamed", "reconnect", "told meanwhile")
    assert stored.credentials == {"token": "newer-token"}
    assert stored.token_version == connection.token_version


def test_what_was_changed_on_purpose_is_saved(connection: Connection, ann: User) -> None:
    read = Connection.objects.get(pk=connection.pk)
    assert read.credentials is not None
    read.credentials["token"] = "in-place"
    read.state = "ok"
    read.save()
    read.state_reason = "second save"
    read.save()
    part = Connection.objects.only("name").get(pk=connection.pk)
    part.settings = {"region": "us"}
    part.save()

    stored = Connection.objects.get(pk=connection.pk)
    assert (stored.credentials, stored.state, stored.state_reason) == ({"token": "in-place"}, "ok", "second save")
    assert stored.settings == {"region": "us"}


def test_a_wrong_key_ring_is_not_blamed_on_the_connection(connection: Connection) -> None:
    service.note_failure(connection, keyring.WrongKey())

    connection.refresh_from_db()
    assert connection.state == "new"
