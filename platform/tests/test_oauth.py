"""Connecting by OAuth: over real HTTP, once, by the person and in the browser session that began it."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone
from syncline.connections import oauth, service
from syncline.connections.oauth import OAuthRefused
from syncline.contract import ConfigError, SynclineError
from syncline.models import Connection, Grant, OAuthState, Registration

pytestmark = pytest.mark.django_db
SECRET = "client-s3cr3t-canary"
HERE = "https://sync.example/oauth/callback/"
SESSION = "session-key-canary"


@pytest.fixture
def ann() -> User:
    return User.objects.create_user("ann", password="pw")


@pytest.fixture
def connection(ann: User, vendor: Any) -> Connection:
    registration = Registration.objects.create(
        connector="toy", name="app", client_id="id", client_secret=SECRET, redirect_uri=HERE, settings={"url": vendor.url}
    )
    return Connection.objects.create(connector="toy", name="c", owner=ann, registration=registration)


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def test_the_url_carries_state_challenge_scopes_and_the_exact_redirect_uri(
    vendor: Any, connection: Connection, ann: User
) -> None:
    url = oauth.authorization_url(connection, ann, SESSION)
    query = query_of(url)

    assert url.startswith(f"{vendor.url}/authorize?x=1&")
    assert (query["client_id"], query["redirect_uri"], query["scope"], query["response_type"]) == ("id", HERE, "a b", "code")
    assert query["code_challenge_method"] == "S256"
    attempt = OAuthState.objects.get()
    assert attempt.digest == hashlib.sha256(query["state"].encode()).hexdigest()
    assert query["state"] != query_of(oauth.authorization_url(connection, ann, SESSION))["state"]
    assert not {SECRET, attempt.code_verifier.reveal(), SESSION} & set(query.values())


def test_the_whole_flow_stores_checked_tokens(vendor: Any, connection: Connection, ann: User) -> None:
    done = oauth.finish(vendor.give_code(oauth.authorization_url(connection, ann, SESSION)), ann, SESSION)

    stored = Connection.objects.get()
    assert done.pk == stored.pk
    assert stored.credentials == {"access_token": "access-canary-2", "refresh_token": "refresh-canary-2"}
    assert (stored.state, stored.account_id, stored.account_name) == ("ok", "42", "Toy account")
    assert (stored.auth_method, stored.token_version) == ("oauth", 1)
    assert stored.token_expires_at
    assert 1700 < (stored.token_expires_at - timezone.now()).total_seconds() <= 1800
    assert vendor.token_calls[0]["redirect_uri"] == HERE
    assert service.check(stored).id == "42"


def test_a_state_works_once(vendor: Any, connection: Connection, ann: User) -> None:
    answer = vendor.give_code(oauth.authorization_url(connection, ann, SESSION))
    oauth.finish(answer, ann, SESSION)

    with pytest.raises(OAuthRefused, match="already used"):
        oauth.finish(answer, ann, SESSION)
    assert len(vendor.token_calls) == 1


def test_a_state_ends_after_ten_minutes(vendor: Any, connection: Connection, ann: User) -> None:
    answer = vendor.give_code(oauth.authorization_url(connection, ann, SESSION))
    OAuthState.objects.update(created=timezone.now() - dt.timedelta(minutes=10, seconds=1))

    with pytest.raises(OAuthRefused, match="more than 10 minutes"):
        oauth.finish(answer, ann, SESSION)
    assert vendor.token_calls == []
    assert oauth.forget_old() == 0
    OAuthState.objects.update(created=timezone.now() - dt.timedelta(days=2))
    assert oauth.forget_old() == 1


def test_another_session_or_person_cannot_finish_and_does_not_use_it_up(vendor: Any, connection: Connection, ann: User) -> None:
    answer, bob = vendor.give_code(oauth.authorization_url(connection, ann, SESSION)), User.objects.create_superuser("bob")

    for user, session in ((ann, "other session"), (bob, SESSION), (ann, "")):
        with pytest.raises(OAuthRefused, match="another person or in another browser session"):
            oauth.finish(answer, user, session)
    assert vendor.token_calls == []
    assert oauth.finish(answer, ann, SESSION).account_id == "42"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({}, "no state"),
        ({"state": "made up", "code": "c"}, "not begun here"),
        ({"error": "access_denied"}, r"permission \(access_denied\)"),
        ({"error": "<script>alert(1)</script>"}, r"permission \(scriptalert1script\)"),
        ({"code": ""}, "without a code"),
        ({"code": "forged"}, r"did not accept its own code.*invalid_grant"),
    ],
)
def test_a_bad_answer_is_a_sentence_and_stores_nothing(
    vendor: Any, connection: Connection, ann: User, query: dict[str, str], sentence: str
) -> None:
    good = vendor.give_code(oauth.authorization_url(connection, ann, SESSION))
    answer = {"state": good["state"], **query} if query else {}

    with pytest.raises(OAuthRefused, match=sentence) as caught:
        oauth.finish(answer, ann, SESSION)
    assert "Start connecting again" in str(caught.value)
    assert Connection.objects.get().credentials is None


def test_a_code_of_another_attempt_fails_by_its_challenge(vendor: Any, connection: Connection, ann: User) -> None:
    mine = vendor.give_code(oauth.authorization_url(connection, ann, SESSION))
    stolen = vendor.give_code(oauth.authorization_url(connection, ann, SESSION))

    with pytest.raises(OAuthRefused, match="invalid_grant"):
        oauth.finish({"state": mine["state"], "code": stolen["code"]}, ann, SESSION)


def test_a_vendor_in_trouble_stores_nothing_and_shows_no_secret(vendor: Any, connection: Connection, ann: User) -> None:
    answer = vendor.give_code(oauth.authorization_url(connection, ann, SESSION))
    vendor.status, vendor.refuse = 503, {"error": f"leak {SECRET} {answer['code']}"}

    with pytest.raises(SynclineError) as caught:
        oauth.finish(answer, ann, SESSION)
    assert SECRET not in str(caught.value)
    assert answer["code"] not in str(caught.value)
    assert Connection.objects.get().credentials is None


def test_reconnecting_to_another_account_is_refused_and_keeps_the_old_tokens(
    vendor: Any, connection: Connection, ann: User
) -> None:
    oauth.finish(vendor.give_code(oauth.authorization_url(connection, ann, SESSION)), ann, SESSION)
    before = Connection.objects.get().credentials
    vendor.account = {"id": "43", "name": "Other account"}

    connection.refresh_from_db()
    with pytest.raises(ConfigError, match=r"Other account \(43\).*Toy account \(42\).*new connection"):
        oauth.finish(vendor.give_code(oauth.authorization_url(connection, ann, SESSION)), ann, SESSION)
    assert Connection.objects.get().credentials == before


def test_only_the_owner_or_a_superuser_may_connect(vendor: Any, connection: Connection, ann: User) -> None:
    bob = User.objects.create_user("bob")
    Grant.objects.create(connection=connection, user=bob, may_run=True)

    with pytest.raises(OAuthRefused, match=r"Only its owner may connect c\. Ask ann"):
        oauth.authorization_url(connection, bob, SESSION)


def test_a_missing_registration_is_named(vendor: Any, ann: User) -> None:
    alone = Connection.objects.create(connector="toy", name="alone", owner=ann, settings={"url": vendor.url})

    with pytest.raises(ConfigError, match=r"alone has no registration.*Toy"):
        oauth.authorization_url(alone, ann, SESSION)


def test_through_the_browser(vendor: Any, connection: Connection, ann: User, client: Client) -> None:
    client.force_login(ann)
    there = client.post(f"/oauth/start/{connection.pk}/")
    back = client.get("/oauth/callback/", vendor.give_code(there["Location"]))

    assert there.status_code == back.status_code == 302
    assert [str(one) for one in get_messages(back.wsgi_request)] == ["c is connected to Toy account."]
    assert "no-store" in back["Cache-Control"]
    assert Connection.objects.get().state == "ok"


def test_the_browser_is_told_what_went_wrong(vendor: Any, connection: Connection, ann: User, client: Client) -> None:
    client.force_login(ann)
    back = client.get("/oauth/callback/", {"state": "x", "code": "y"})

    assert [str(one) for one in get_messages(back.wsgi_request)] == [
        "This sign-in was not begun here. Start connecting again from the connection's page."
    ]


def test_strangers_and_foreign_pages_cannot_begin(vendor: Any, connection: Connection, ann: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    start = f"/oauth/start/{connection.pk}/"

    assert "/login/" in Client().post(start)["Location"]
    strict.force_login(ann)
    assert strict.post(start).status_code == 403
    assert strict.get(start).status_code == 405
    other = Client()
    other.force_login(User.objects.create_user("bob"))
    assert other.post(start).status_code == 404
    assert not OAuthState.objects.exists()


@pytest.mark.parametrize("status", [200, 503])
def test_disconnecting_takes_the_permission_back_and_forgets_the_tokens_in_any_case(
    vendor: Any, connection: Connection, ann: User, status: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    oauth.finish(vendor.give_code(oauth.authorization_url(connection, ann, SESSION)), ann, SESSION)
    asked: list[str] = []
    monkeypatch.setattr(vendor, "revoke", lambda form: (asked.append(form["token"]) or status, {}))  # type: ignore[func-returns-value]
    service.disconnect(connection)

    stored = Connection.objects.get()
    assert asked == ["refresh-canary-2"]
    assert (stored.credentials, stored.state, stored.token_expires_at) == (None, "new", None)
    assert ("did not take the permission back" in caplog.text) is (status != 200)
    assert "refresh-canary-2" not in caplog.text
