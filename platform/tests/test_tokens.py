"""A token is refreshed once, however many ask; a refusal is told once; nobody hammers."""

from __future__ import annotations

import datetime as dt
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections, transaction
from django.utils import timezone
from syncline.connections import tokens
from syncline.connections.sessions import open_session
from syncline.connections.token_endpoint import TokenEndpoint
from syncline.connections.tokens import OAuthTokens
from syncline.contract import AuthError, Retryable
from syncline.models import Connection, Registration

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "client-s3cr3t-canary"
EXPIRED, SOON, LATER = -10.0, 30.0, 1700.0


def make(vendor: Any, left: float, *, life: float = 1800.0) -> Connection:
    owner = User.objects.get_or_create(username="ann")[0]
    registration = Registration.objects.create(connector="toy", name="app", client_id="id", client_secret=SECRET)
    vendor.access = "access-canary-0"
    ends = timezone.now() + dt.timedelta(seconds=left)
    return Connection.objects.create(
        connector="toy",
        name="c",
        owner=owner,
        registration=registration,
        settings={"url": vendor.url},
        auth_method="oauth",
        credentials={"access_token": vendor.access, "refresh_token": vendor.refresh},
        token_expires_at=ends,
        token_issued_at=ends - dt.timedelta(seconds=life),
        state="ok",
    )


def provider(vendor: Any, connection: Connection) -> OAuthTokens:
    return OAuthTokens(connection.pk, TokenEndpoint(vendor.url + "/token", "id", SECRET, ("127.0.0.1",)))


def at_once(number: int, work: Any) -> list[Any]:
    barrier = threading.Barrier(number)

    def run(position: int) -> Any:
        barrier.wait()
        try:
            return work(position)
        except Exception as error:  # noqa: BLE001 - handed to the test
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(run, range(number)))


def test_a_token_that_lasts_is_used_without_asking(vendor: Any) -> None:
    assert provider(vendor, make(vendor, LATER)).headers() == {"Authorization": "Bearer access-canary-0"}
    assert vendor.token_calls == []


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("left", [EXPIRED, SOON])
def test_eight_threads_refresh_once(vendor: Any, left: float, shared: bool) -> None:
    connection, vendor.delay = make(vendor, left), 0.3
    one = provider(vendor, connection)
    used = at_once(8, lambda _: (one if shared else provider(vendor, connection)).headers()["Authorization"])

    assert len(vendor.token_calls) == 1
    assert "Bearer access-canary-1" in used
    if left == EXPIRED or shared:  # who has no token yet waits for the first
        assert Counter(used) == {"Bearer access-canary-1": 8}
    else:
        assert set(used) == {"Bearer access-canary-1", "Bearer access-canary-0"}, "others go on with what still works"
    connection.refresh_from_db()
    assert (connection.token_version, connection.refresh_owner, connection.refresh_lease_until) == (1, "", None)
    assert connection.credentials["refresh_token"] == "refresh-canary-1"


FORKED = """
import os, sys, django
django.setup()
from syncline.connections.tokens import OAuthTokens
from syncline.connections.token_endpoint import TokenEndpoint
go, begin = os.pipe()
for _ in range(8):
    if os.fork() == 0:
        os.close(begin)
        os.read(go, 1)  # all of them wake at once, when the parent lets go
        own = OAuthTokens(int(sys.argv[1]), TokenEndpoint(sys.argv[2], "id", "client-s3cr3t-canary", ("127.0.0.1",)))
        os.write(1, (own.headers()["Authorization"] + chr(10)).encode())
        os._exit(0)
os.close(begin)
statuses = [os.wait()[1] for _ in range(8)]
sys.exit(any(statuses))
"""


def test_eight_processes_refresh_once(vendor: Any, database_url: str) -> None:
    connection, vendor.delay = make(vendor, EXPIRED), 0.3
    environment = {**os.environ, "DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "syncline_host.settings"}
    command = [sys.executable, "-c", FORKED, str(connection.pk), vendor.url + "/token"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert Counter(done.stdout.split("\n")[:-1]) == {"Bearer access-canary-1": 8}
    assert len(vendor.token_calls) == 1


def test_a_401_gets_one_new_token_for_all_threads(vendor: Any) -> None:
    connection = make(vendor, LATER)
    session = open_session(connection)
    vendor.access = "revoked early"
    answers = at_once(8, lambda _: session.http.request("GET", vendor.url + "/me").json())

    assert answers == [vendor.account] * 8
    assert len(vendor.token_calls) == 1


def test_a_401_that_a_new_token_does_not_cure_is_not_answered_by_more_refreshes(vendor: Any) -> None:
    one = provider(vendor, make(vendor, LATER))

    assert one.renew(one.headers()) is True
    assert one.renew(one.headers()) is False
    assert len(vendor.token_calls) == 1


def test_a_refused_refresh_marks_the_connection_once_and_nobody_asks_again(vendor: Any, caplog: pytest.LogCaptureFixture) -> None:
    connection = make(vendor, EXPIRED)
    vendor.refresh = "taken back"
    with caplog.at_level(logging.INFO):
        errors = at_once(8, lambda _: provider(vendor, connection).headers())

    assert {type(error) for error in errors} == {AuthError}
    assert len(vendor.token_calls) == 1
    connection.refresh_from_db()
    assert connection.state == "reconnect"
    assert "invalid_grant" in connection.state_reason
    assert "Reconnect" in connection.state_reason
    assert [record.levelname for record in caplog.records if record.name == "syncline.connections"] == ["WARNING"]
    assert "refresh-0" not in caplog.text + connection.state_reason
    with pytest.raises(AuthError, match="invalid_grant"):
        open_session(connection)
    assert len(vendor.token_calls) == 1


def test_a_refusal_of_an_old_token_adopts_the_newer_one(vendor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = make(vendor, EXPIRED)
    real = TokenEndpoint.refresh

    def overtaken(self: TokenEndpoint, refresh_token: str) -> Any:
        Connection.objects.filter(pk=connection.pk).update(
            credentials={"access_token": "newer", "refresh_token": "newer-refresh"},
            token_version=7,
            token_expires_at=timezone.now() + dt.timedelta(hours=1),
        )
        return real(self, refresh_token)

    monkeypatch.setattr(TokenEndpoint, "refresh", overtaken)
    vendor.refresh = "already rotated by somebody"

    assert provider(vendor, connection).headers() == {"Authorization": "Bearer newer"}
    connection.refresh_from_db()
    assert (connection.state, connection.token_version) == ("ok", 7)


def test_a_refresh_that_lost_its_lease_overwrites_nothing(vendor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = make(vendor, EXPIRED)
    real = TokenEndpoint.refresh

    def reconnected_meanwhile(self: TokenEndpoint, refresh_token: str) -> Any:
        answer = real(self, refresh_token)
        Connection.objects.filter(pk=connection.pk).update(
            credentials={"access_token": "typed", "refresh_token": "r"}, token_version=9, token_expires_at=None
        )
        return answer

    monkeypatch.setattr(TokenEndpoint, "refresh", reconnected_meanwhile)

    assert provider(vendor, connection).headers() == {"Authorization": "Bearer typed"}
    connection.refresh_from_db()
    assert connection.credentials == {"access_token": "typed", "refresh_token": "r"}


@pytest.mark.parametrize("status", [500, 429, 503])
def test_a_vendor_in_trouble_is_left_in_peace_and_changes_no_state(vendor: Any, status: int) -> None:
    connection, vendor.status = make(vendor, EXPIRED), status
    first = at_once(8, lambda _: provider(vendor, connection).headers())

    assert {type(error) for error in first} == {Retryable}
    assert len(vendor.token_calls) == 1
    connection.refresh_from_db()
    assert connection.state == "ok"
    with pytest.raises(Retryable) as caught:
        provider(vendor, connection).headers()
    assert 20 < (caught.value.after or 0) <= 30


def test_a_vendor_in_trouble_does_not_stop_a_token_that_still_works(vendor: Any) -> None:
    connection, vendor.status = make(vendor, SOON), 503

    assert provider(vendor, connection).headers() == provider(vendor, connection).headers()
    assert len(vendor.token_calls) == 1


def test_a_wrong_client_secret_is_a_matter_of_settings(vendor: Any) -> None:
    connection = make(vendor, EXPIRED)
    endpoint = TokenEndpoint(vendor.url + "/token", "id", "wrong", ("127.0.0.1",))

    with pytest.raises(Exception, match="client secret are wrong"):
        OAuthTokens(connection.pk, endpoint).headers()
    connection.refresh_from_db()
    assert connection.state == "settings"
    assert "Correct the registration" in connection.state_reason


def test_the_lease_of_a_killed_worker_ends(vendor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = make(vendor, EXPIRED)
    soon = timezone.now() + dt.timedelta(seconds=0.5)
    Connection.objects.filter(pk=connection.pk).update(refresh_owner="dead", refresh_lease_until=soon)

    assert provider(vendor, connection).headers() == {"Authorization": "Bearer access-canary-1"}
    Connection.objects.filter(pk=connection.pk).update(
        refresh_owner="alive", refresh_lease_until=soon + dt.timedelta(minutes=1), token_expires_at=timezone.now()
    )
    monkeypatch.setattr(tokens, "PATIENCE", 0.2)
    with pytest.raises(Retryable, match="Another worker"):
        provider(vendor, connection).headers()


def test_no_refresh_token_means_reconnect(vendor: Any) -> None:
    connection = make(vendor, EXPIRED)
    Connection.objects.filter(pk=connection.pk).update(credentials={"access_token": "a"})

    with pytest.raises(AuthError, match="no refresh token"):
        provider(vendor, connection).headers()
    connection.refresh_from_db()
    assert (connection.state, len(vendor.token_calls)) == ("reconnect", 0)


def test_the_old_refresh_token_is_kept_when_the_vendor_sends_none(vendor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = make(vendor, EXPIRED)
    monkeypatch.setattr(vendor, "token", lambda form: (200, {"access_token": "plain", "expires_in": "60"}))

    assert provider(vendor, connection).headers() == {"Authorization": "Bearer plain"}
    connection.refresh_from_db()
    assert connection.credentials == {"access_token": "plain", "refresh_token": "refresh-0"}


def test_tokens_that_end_at_once_are_asked_for_once_per_request(vendor: Any) -> None:
    connection, vendor.expires_in = make(vendor, EXPIRED), 0

    assert provider(vendor, connection).headers() == {"Authorization": "Bearer access-canary-1"}
    assert len(vendor.token_calls) == 1


def test_nobody_refreshes_inside_a_transaction(vendor: Any) -> None:
    connection = make(vendor, EXPIRED)

    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        provider(vendor, connection).headers()
    assert vendor.token_calls == []


def test_the_token_endpoint_must_be_an_allowed_host(vendor: Any) -> None:
    with pytest.raises(Exception, match=r"may not be asked of 127\.0\.0\.1"):
        TokenEndpoint(vendor.url + "/token", "id", SECRET, ("*.toy.example",)).refresh("r")
    assert vendor.token_calls == []
