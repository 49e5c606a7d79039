"""What a connector's author supplies so that the suite can try the connector: a server to point it at and sample values."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from syncline.contract import ConnectorSpec, DatasetInfo, MatchStep, Property, Sandbox, Value

from .check import Breach
from .delivery import Delivery
from .sandbox import end

START_TIMEOUT = 60.0
ADDRESS = re.compile(r"\w+://127\.0\.0\.1:\d+\S*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server that behaves like the vendor.

    `url`: its address, `http://127.0.0.1:…`. `headers`: what a request must carry to be let in.
    `settings`: the connector's settings that lead to it; `{url}` stands for the address to call (the suite puts its own
    proxy in between). `settle(seconds)`: lets the server's clock pass, so that what was just written can be listed.
    `touch(ids)`: changes these records behind the connector's back, all at one moment.
    `merge(into, gone)`: merges two records by their ids, where the vendor can.
    `credentials`: what Session.credentials gives, for connectors with a protocol of their own.
    """

    url: str
    headers: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    settle: Callable[[float], object] = time.sleep
    touch: Callable[[Sequence[str]], object] | None = None
    merge: Callable[[str, str], object] | None = None
    credentials: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the suite writes, and where.

    `server`: starts the server for a connector. `object_type`: key of the object that is written.
    `record(n)`: canonical values of the n-th good record, no two alike, with a value for every kind the object has.
    `rejected`: values that make the vendor refuse a record, over those of a good one.
    `refusal`: body of the vendor's answer 400 to a whole request. `missing_id`: an id that no record has.
    `create`: properties that do not exist yet and can be created. `dataset`: one that `suggest_mapping` knows.
    `match`: a step of the match rule on a text property of `record`, if records can be found by more than our own key.
    `partner`: an object that records can be associated with, and its n-th good record, unless it is the same object.
    `log`: an object that is a log, and the values of its n-th message, if the connector has one.
    `empty_pages`: each turns the body of a listing page into one that says success but holds no record.
    `webhooks`: each form in which the vendor delivers, one with an event of a kind that the connector does not know.
    `reads`: regular expression for paths that only read although they are not called with GET.
    `skip`: name of a check → why it does not apply to this connector.
    `patience`: seconds after which a check that has not ended is a breach: a pull without an end must not hang the suite. To
    them comes what it may have to wait until the server lists what was written.
    """

    server: Callable[[ConnectorSpec], AbstractContextManager[Server]]
    object_type: str
    record: Callable[[int], Mapping[str, Value]]
    rejected: Mapping[str, Value] | None = None
    refusal: Any = None
    missing_id: str = ""
    create: tuple[Property, ...] = ()
    dataset: DatasetInfo | None = None
    match: MatchStep | None = None
    partner: tuple[str, Callable[[int], Mapping[str, Value]]] | None = None
    log: tuple[str, Callable[[int], Mapping[str, Value]]] | None = None
    empty_pages: tuple[Callable[[Any], Any], ...] = ()
    webhooks: tuple[Delivery, ...] = ()
    reads: str = ""
    skip: Mapping[str, str] = field(default_factory=dict)
    patience: float = 180.0


def sandboxed(
    headers: Callable[[Mapping[str, Any]], Mapping[str, str]],
    settle: Callable[[Mapping[str, Any], float], object] | None = None,
    touch: Callable[[Mapping[str, Any], Sequence[str]], object] | None = None,
    merge: Callable[[Mapping[str, Any], str, str], object] | None = None,
) -> Callable[[ConnectorSpec], AbstractContextManager[Server]]:
    """Starts the connector's own sandbox. All arguments get the JSON line it printed."""

    @contextlib.contextmanager
    def server(connector: ConnectorSpec) -> Iterator[Server]:
        sandbox = connector.sandbox()
        with started(sandbox) as ready:
            yield Server(
                url=ready["url"],
                headers=headers(ready),
                settings={name: _told(text, ready) for name, text in sandbox.settings.items()},
                settle=partial(settle, ready) if settle else time.sleep,
                touch=partial(touch, ready) if touch else None,
                merge=partial(merge, ready) if merge else None,
            )

    return server


def _told(text: str, ready: Mapping[str, Any]) -> str:
    """What the sandbox said of itself; `{url}` stays, because the suite puts its proxy in between."""
    for name in ready.keys() - {"url"}:
        text = text.replace(f"{{{name}}}", str(ready[name]))
    return text


@contextlib.contextmanager
def started(sandbox: Sandbox) -> Iterator[Mapping[str, Any]]:
    """Runs the sandbox's process on a free port; gives the JSON line it prints. Ends it by its pid."""
    command = [*sandbox.command, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        try:
            yield _ready(process, command)
        finally:
            end(process)


def _ready(process: subprocess.Popen[bytes], command: Sequence[str]) -> Mapping[str, Any]:
    line = _first_line(process.stdout, START_TIMEOUT)
    what = f"The sandbox `{' '.join(command)}`"
    try:
        ready = json.loads(line)
    except ValueError:
        raise Breach(f"{what} must print one JSON line with its `url` when it is ready, but printed {line[:200]!r}.") from None
    if not isinstance(ready, dict) or not ADDRESS.fullmatch(str(ready.get("url", ""))):
        raise Breach(f"{what} must name its address on 127.0.0.1 under `url`, but printed {line[:200]!r}.")
    return ready


def _first_line(stream: IO[bytes] | None, seconds: float) -> bytes:
    if stream is None:
        raise ValueError("The process has no standard output to read.")
    readable, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if readable else b""
