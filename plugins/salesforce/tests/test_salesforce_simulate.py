"""The simulator: what it posts, what it does when nobody answers, and what it says must come of it."""

from __future__ import annotations

import datetime as dt
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, ClassVar

import pytest
from syncline.contract import ConfigError, EventKind, Permanent, WebhookRequest
from syncline_salesforce.sandbox.customers import LATE, Crowd, Message, Shares, malformed
from syncline_salesforce.sandbox.simulate import simulate
from syncline_salesforce.webhooks import parse

pytestmark = pytest.mark.unit
ALL = {"duplicates": 0.1, "reordered": 0.1, "bursts": 0.2, "malformed": 0.1}


class Host(ThreadingHTTPServer):
    """Takes deliveries as ours does. `fate(number)`: None takes it, a number is the answer's status, 0 hangs up unanswered,
    -1 hangs up after it was taken."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.asked = 0
        self.taken: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.under_way: Counter[str] = Counter()
        self.together: set[str] = set()
        self.fate: Callable[[int], int | None] = lambda _number: None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/salesforce/webhook?a=b"

    def states(self) -> dict[str, Any]:
        """What the sound messages make of each customer, in the order in which they came."""
        return {told["Id"]: told for told in (data_of(body) for body in self.taken) if told}


def data_of(body: bytes) -> Any:
    try:
        [event] = parse(WebhookRequest("POST", "http://h/", {}, body, dt.datetime.now(dt.UTC)))
    except Permanent:
        return None
    assert (event.kind, event.object_type) == (EventKind.MESSAGE, "Customer")
    return event.data


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Host

    def do_POST(self) -> None:
        host, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        told = data_of(body)
        who = told["Id"] if told else ""
        with host.lock:
            host.asked += 1
            fate = host.fate(host.asked)
            host.under_way[who] += 1
            host.together |= {who} if who and host.under_way[who] > 1 else set()
            host.headers.append(dict(self.headers))
            host.taken += [body] if fate in {None, -1} else []
        time.sleep(0.002)
        with host.lock:
            host.under_way[who] -= 1
        if fate in {0, -1}:
            self.close_connection = True
            return
        self.send_response(200 if fate is None else fate)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    simulate(**{"rate": 0.0, **options})
    [line] = capsys.readouterr().out.splitlines()
    told: dict[str, Any] = json.loads(line)
    return told


def as_expected(states: Mapping[str, Any]) -> dict[str, Any]:
    return {
        who: {
            "name": state["Name"],
            "signed_tos": state["SignedTos"],
            "skus": [name for name in ("SKU1", "SKU2", "SKU3") if state[name]],
        }
        for who, state in states.items()
    }


def test_ten_customers_are_posted_as_the_first_system_did(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, url=host.url, messages=200, secret="open-sesame-canary")
    assert (told["posted"], told["acknowledged"], told["malformed"], told["duplicates"], told["again"]) == (200, 200, 0, 0, 0)
    assert told["customers"] == as_expected(host.states())
    assert len(told["customers"]) == 10
    assert list(json.loads(host.taken[0])) == [
        "AccountManager", "Id", "Name", "SalesEngineerId", "SignedTos", "SKU1", "SKU2", "SKU3",
    ]  # fmt: skip
    assert not any("content-type" in {name.lower() for name in one} for one in host.headers)
    assert {one["x-syncline-secret"] for one in host.headers} == {"open-sesame-canary"}


def test_shares_are_kept_about_and_no_customer_has_two_under_way(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, url=host.url, messages=1000, concurrency=8, customers=20, **ALL)
    assert 50 <= told["malformed"] <= 160
    assert 50 <= told["duplicates"] <= 160
    assert sum(data_of(body) is None for body in host.taken) == told["malformed"]
    assert told["acknowledged"] == 1000 - told["malformed"]
    assert told["customers"] == as_expected(host.states())
    assert host.together == set()


def test_no_answer_and_failures_are_posted_again_until_they_are_acknowledged(
    host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    fates = {0: 503, 1: 0, 2: -1, 3: 429, 4: 500}
    host.fate = lambda number: fates.get(number % 12)
    told = run(capsys, url=host.url, messages=120, **ALL)
    assert told["again"] >= 40
    assert told["acknowledged"] + told["malformed"] == 120
    assert told["customers"] == as_expected(host.states())
    assert host.together == set()


def test_a_host_that_is_down_at_first_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    server = Host()
    url, address = server.url, server.server_address
    server.server_close()
    threading.Timer(0.5, lambda: later(address)).start()
    told = run(capsys, url=url, messages=20, concurrency=2)
    assert told["acknowledged"] == 20
    assert told["again"] >= 2


def later(address: Any) -> None:
    class There(Host):
        def __init__(self) -> None:
            ThreadingHTTPServer.__init__(self, address, Handler, bind_and_activate=True)
            self.lock, self.asked, self.taken, self.headers = threading.Lock(), 0, [], []
            self.under_way, self.together, self.fate = Counter(), set(), lambda _number: None

    server = There()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Timer(5, server.server_close).start()


@pytest.mark.parametrize("status", [401, 404, 302])
def test_a_refusal_ends_it_with_a_sentence_and_without_the_address_s_secret(
    host: Host, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    host.fate = lambda _number: status
    with pytest.raises(ConfigError, match=f"by {status}") as refused:
        simulate(url=f"{host.url}&secret=open-sesame-canary", messages=50, rate=0)
    assert "canary" not in str(refused.value)
    assert json.loads(capsys.readouterr().out)["acknowledged"] == 0


def test_the_same_seed_posts_the_same_and_another_one_something_else() -> None:
    def first(seed: str) -> list[bytes]:
        return [one.body for one in islice(Crowd(5, Shares(**ALL), seed).messages(), 300)]

    assert first("1") == first("1")
    assert first("1") != first("2")


class Noting(Crowd):
    """Knows in which order its messages happened."""

    happened: ClassVar[list[Message]] = []

    def _next(self, *given: Any, **named: Any) -> Message:
        self.happened.append(super()._next(*given, **named))
        return self.happened[-1]


def test_messages_are_reordered_but_none_is_lost() -> None:
    Noting.happened.clear()
    crowd = Noting(3, Shares(reordered=0.5), "7")
    posted = list(islice(crowd.messages(), 500))
    places = {id(one): place for place, one in enumerate(crowd.happened)}
    moved = [place - places[id(one)] for place, one in enumerate(posted)]
    assert sum(distance > 0 for distance in moved) > 100
    assert max(map(abs, moved)) <= 2 * LATE
    assert {*map(id, crowd.happened)} - {*map(id, posted)} <= {id(one) for _, one in crowd._late} | {id(crowd.happened[-1])}


@pytest.mark.parametrize("kind", range(13))
def test_what_it_calls_malformed_the_connector_cannot_read(kind: int) -> None:
    class Chooses:
        def choice(self, kinds: tuple[bytes, ...]) -> bytes:
            assert len(kinds) == 13
            return kinds[kind]

    state = next(Crowd(1, Shares(), "1").messages()).state
    assert state
    assert data_of(malformed(Chooses(), state)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"customers": 0}, {"concurrency": 0}, {"malformed": 1.0}, {"duplicates": -0.1}, {"messages": -1}, {"url": "nowhere"}],
)
def test_options_that_make_no_sense_are_explained(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        simulate(**{"messages": 1, **options})


def test_the_rate_is_kept(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    run(capsys, url=host.url, messages=40, rate=40.0)
    assert 0.7 < time.monotonic() - begun < 4


def test_without_a_number_it_goes_on_until_it_is_told_to_stop(host: Host) -> None:
    command = [sys.executable, "-m", "syncline.cli", "simulate", "salesforce", "--url", host.url, "--rate", "200"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while host.asked < 50 and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=30)
    told = json.loads(said.splitlines()[-1])
    assert process.returncode == 0
    assert told["acknowledged"] == told["posted"] >= 50
    assert told["customers"] == as_expected(host.states())
