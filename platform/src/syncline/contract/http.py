"""The authenticated HTTP client that every hook gets, and the session around it.

`Http` repeats by itself only what was certainly not carried out (no connection, 429, 423, 477, an expired token) or what
the caller marked `repeatable`. A time-out, a connection lost after sending or a 5xx is OutcomeUnknown otherwise.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError

from .errors import AuthError, ConfigError, OutcomeUnknown, RateLimited, Retryable

REFUSED_UNDONE = frozenset({423, 429, 477})
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
MAX_BODY = 64 * 1024 * 1024


class HostRefused(ConfigError):
    """This process may not call that host. The account has nothing to do with it: see the connector's hosts."""


class Budget(Protocol):
    """The call allowances of the account, shared by every process.

    `limit` is the name of a Limit of the connector; "" stands for the first that does not count every call anyway. A call
    counts against that one and against those that count every call.
    """

    def acquire(self, limit: str) -> None:
        """Returns when the call may leave; raises RateLimited(after), with nothing used up, when that would take long."""

    def pause(self, limit: str, seconds: float) -> None:
        """Nobody makes a call that counts against this limit for so long: the vendor said so."""

    def observe(self, limit: str, headers: Mapping[str, str]) -> None:
        """Learns from the headers of an answer to a call that named this limit."""


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to stay away after a refusal, and from which limit; "" is the one that the request named."""

    seconds: float
    limit: str = ""


class Upload(Protocol):
    """A body that is sent piece by piece, from the start each time it is iterated; `len` is its size in bytes."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


class Auth(Protocol):
    """Proves who we are; knows how to get a fresh token."""

    def headers(self) -> Mapping[str, str]:
        """Headers for one request; refreshes a token about to expire. AuthError when that is refused."""

    def renew(self, used: Mapping[str, str]) -> bool:
        """Gets a newer token than the one in `used`; False when there is no way to."""


class FreeBudget:
    """No limit: tests and connectors without limits."""

    def acquire(self, limit: str) -> None:
        """There is always room."""

    def pause(self, limit: str, seconds: float) -> None:
        """Nobody else calls: the caller waits by itself."""

    def observe(self, limit: str, headers: Mapping[str, str]) -> None:
        """There is nothing to learn."""


@dataclass(frozen=True, slots=True)
class HeaderAuth:
    """Fixed headers: private tokens, basic authentication."""

    fixed: Mapping[str, str]

    def headers(self) -> Mapping[str, str]:
        return self.fixed

    def renew(self, used: Mapping[str, str]) -> bool:  # noqa: ARG002
        return False

    def __repr__(self) -> str:
        return "HeaderAuth(…)"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read whole. `body` is raw bytes."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    method: str
    path: str

    def json(self) -> Any:
        """The body as JSON; OutcomeUnknown when it is not JSON (a proxy's HTML page, say)."""
        try:
            return _parsed(self.body)
        except (ValueError, RecursionError):
            raise OutcomeUnknown(f"{self.method} {self.path} answered {self.status} with something that is not JSON.") from None


def _parsed(body: bytes) -> Any:
    """A text that its writer cut in the middle of a character ends in half a surrogate pair. That becomes a question mark: one
    such text in an account must not make its whole page unreadable."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        whole = json.dumps(json.loads(body), ensure_ascii=False, allow_nan=False)
        return orjson.loads(whole.encode(errors="replace"))


class Http:
    """One per run and process, used from several threads.

    `gate` is called before each attempt with the seconds it may take. `timeout`: seconds to connect, and for the answer.
    """

    def __init__(
        self,
        *,
        hosts: tuple[str, ...],
        auth: Auth,
        budget: Budget | None = None,
        log: logging.Logger | None = None,
        gate: Callable[[float], None] | None = None,
        patience: float = 60.0,
        timeout: tuple[float, float] = (CONNECT_TIMEOUT, READ_TIMEOUT),
        pool_size: int = 16,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._hosts, self._auth, self._budget = hosts, auth, budget or FreeBudget()
        self._log = log or logging.getLogger("syncline.http")
        self._gate, self._patience, self._timeout, self._sleep = gate, patience, timeout, sleep
        #: Requests sent so far, whatever became of them.
        self.calls = 0
        self._counting = threading.Lock()
        self._session = requests.Session()
        self._session.trust_env = False
        adapter = requests.adapters.HTTPAdapter(pool_connections=pool_size, pool_maxsize=pool_size)
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        data: Mapping[str, str] | bytes | Upload | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        limit: str = "",
        repeatable: bool = False,
        wait: Callable[[Response], float | Pause] | None = None,
    ) -> Response:
        """Sends one request; gives any answer but 401, 423, 429, 477 and 5xx, which become errors.

        `limit`: the Limit it counts against, see Budget. `repeatable`: doing it twice is the same as once. `wait`: seconds to
        wait after a refusal, as this vendor wants it (default: Retry-After, else growing pauses), or a Pause that also says
        which limit was hit.
        """
        self.check_host(url)
        body = orjson.dumps(json) if json is not None else data
        extra = {"Content-Type": "application/json"} if json is not None else {}
        call = _Call(method, url, body, params, {**extra, **(headers or {})}, limit, repeatable, wait)
        deadline = time.monotonic() + self._patience
        renewed = False
        for attempt in range(1, 1000):
            used = self._auth.headers()
            outcome = self._attempt(call, used)
            if isinstance(outcome, Response):
                if outcome.status == 401 and not renewed and self._auth.renew(used):
                    renewed = True
                    continue
                error = self._error(call, outcome, attempt)
                if error is None:
                    return outcome
            else:
                error = outcome
            self._wait_or_raise(error, attempt, deadline)
        raise AssertionError("unreachable")

    def check_host(self, url: str) -> None:
        """HostRefused when this process may not call the host: connectors with protocols of their own ask before they do."""
        host = urlsplit(url).hostname or ""
        if not any(fnmatch(host, pattern) for pattern in self._hosts):
            allowed = ", ".join(self._hosts) or "no host"
            sandbox = " For a sandbox on this machine, set SYNCLINE_ALLOW_LOOPBACK=1." if host in _LOOPBACK else ""
            raise HostRefused(f"The connector may not call {host or url!r}. Allowed: {allowed}.{sandbox}")

    def _attempt(self, call: _Call, auth: Mapping[str, str]) -> Response | Exception:
        self._budget.acquire(call.limit)
        if self._gate:
            self._gate(sum(self._timeout))
        with self._counting:
            self.calls += 1
        started, sent_at = time.monotonic(), dt.datetime.now(dt.UTC)
        path = urlsplit(call.url).path
        try:
            with self._session.request(
                call.method,
                call.url,
                data=call.body,
                params=call.params,
                headers={**auth, **call.headers},
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,
            ) as raw:
                response = Response(raw.status_code, raw.headers, _read(raw, started + sum(self._timeout)), call.method, path)
        except requests.RequestException as error:
            return _transport_error(call, error, path, sent_at)
        self._log.debug("%s %s %s %d ms", call.method, path, response.status, 1000 * (time.monotonic() - started))
        self._budget.observe(call.limit, response.headers)
        return response

    def _error(self, call: _Call, response: Response, attempt: int) -> Exception | None:
        what = f"{call.method} {response.path} answered {response.status}"
        if response.status == 401:
            return AuthError(f"{what}: the account refused our credentials. Reconnect it.")
        if response.status in REFUSED_UNDONE:
            hit = _pause(call.wait(response) if call.wait else retry_after(response, attempt))
            limit = hit.limit or call.limit
            self._budget.pause(limit, hit.seconds)
            return RateLimited(f"{what}: no room for this call now; nothing was carried out.", hit.seconds, limit)
        if response.status >= 500:
            if call.repeatable:
                return Retryable(f"{what}.", retry_after(response, attempt))
            return OutcomeUnknown(f"{what}: it may or may not have been carried out.")
        return None

    def _wait_or_raise(self, error: Exception, attempt: int, deadline: float) -> None:
        if not isinstance(error, Retryable):
            raise error
        after = backoff(attempt) if error.after is None else error.after
        if attempt >= 8 or time.monotonic() + after > deadline:
            raise error
        self._log.info("%s; trying again in %.1f s", error, after)
        self._sleep(after)


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    url: str
    body: Mapping[str, str] | bytes | Upload | None
    params: Mapping[str, Any] | None
    headers: Mapping[str, str]
    limit: str
    repeatable: bool
    wait: Callable[[Response], float | Pause] | None


def _pause(told: float | Pause) -> Pause:
    return told if isinstance(told, Pause) else Pause(told)


def retry_after(response: Response, attempt: int) -> float:
    """Seconds the vendor asked for, else a growing pause. Dates in the header count as no wish."""
    try:
        return max(0.0, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return backoff(attempt)


def backoff(attempt: int) -> float:
    """Seconds to pause after the n-th failure: growing, jittered, half a minute at most."""
    return min(30.0, 0.5 * 2.0 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, not a secret


def _read(raw: requests.Response, until: float) -> bytes:
    """The whole body; requests' own time-out is between two bytes, so a dripping answer would last for ever."""
    body = bytearray()
    for piece in raw.iter_content(1 << 16):
        body += piece
        if time.monotonic() > until:
            raise requests.ReadTimeout("the answer took too long")
        if len(body) > MAX_BODY:
            raise requests.exceptions.ContentDecodingError("the answer is larger than 64 MiB")
    return bytes(body)


def _transport_error(call: _Call, error: requests.RequestException, path: str, sent_at: dt.datetime) -> Exception:
    what = f"{call.method} {path}"
    if _never_sent(error):
        return Retryable(f"{what}: no connection to {urlsplit(call.url).hostname}; nothing was carried out.")
    cause = "no answer in time" if isinstance(error, requests.Timeout) else "the connection was lost"
    if call.repeatable:
        return Retryable(f"{what}: {cause}.")
    return OutcomeUnknown(f"{what}: {cause} after sending: it may or may not have been carried out.", sent_at)


def _never_sent(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return True
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, NewConnectionError)


@dataclass(frozen=True)
class Session:
    """What a hook works with.

    `settings`: the registration's settings with the connection's over them, defaults filled in.
    `installation`: short id of this Syncline installation, first part of unique keys.
    `log`: redacts secrets.
    `credentials`: what signs in, by name, for connectors that speak a protocol of their own: the fields of the way to sign in
    that was chosen, or for OAuth a fresh `access_token` (AuthError when there is none). Plain text: never log it, never keep it.
    """

    settings: Mapping[str, Any]
    http: Http
    installation: str
    log: logging.Logger
    account_id: str = ""
    credentials: Callable[[], Mapping[str, str]] = dict
