"""A sandbox in a process of its own, and a small client for its admin API: for tests and demos."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

import requests

START_WITHIN_S = 20


class Admin:
    """Every method raises `requests.HTTPError` with the sandbox's sentence if it is refused."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sandbox"
        self._http = requests.Session()

    def _do(self, name: str, **body: Any) -> Any:
        answer = self._http.post(f"{self._url}/{name}", json=body, timeout=60)
        if answer.status_code >= 400:
            raise requests.HTTPError(f"The sandbox refused {name}: {answer.text}", response=answer)
        return answer.json()

    def close(self) -> None:
        self._http.close()

    def advance(self, seconds: float) -> float:
        """Moves the sandbox's clock forward."""
        return float(self._do("advance", seconds=seconds)["now"])

    def seed(self, kind: str, records: Iterable[Mapping[str, Any]]) -> list[str]:
        ids: list[str] = self._do("seed", object=kind, records=list(records))["ids"]
        return ids

    def edit(self, kind: str, values: Mapping[str, Any], ids: Iterable[str]) -> None:
        """A person changes many records at one moment; `{n}` in a value counts them."""
        self._do("edit", object=kind, values=dict(values), ids=list(ids))

    def merge(self, kind: str, into: str, gone: str) -> None:
        self._do("merge", object=kind, into=into, gone=gone)

    def delete(self, *ids: str) -> None:
        self._do("delete", ids=ids)

    def undelete(self, *ids: str) -> None:
        self._do("undelete", ids=ids)

    def inject(self, kind: str, change: str, *ids: str) -> None:
        """A change event that tells of a change and not which: `GAP_UPDATE`, `GAP_OVERFLOW` …"""
        self._do("inject", object=kind, change=change, ids=ids)

    def streams(self, **changes: Any) -> dict[str, int]:
        """`end` (a status of gRPC), `silent`, `keepalive`, `patience`: see `admin.streams`. Streams that run, and that began."""
        found: dict[str, int] = self._do("streams", **changes)
        return found

    def config(self, **changes: Any) -> None:
        """`locked`, `duplicate_rules`, `daily`, `page`, `expire`: see `admin.config` of the sandbox."""
        self._do("config", **changes)

    def calls(self) -> list[str]:
        """Method and path of each call since the last time this was asked."""
        found: list[str] = self._do("calls")["calls"]
        return found

    def clients(self) -> list[str]:
        """What callers said of themselves in `Sforce-Call-Options`."""
        found: list[str] = self._do("calls")["clients"]
        return found

    def subscribe(self, url: str, kind: str, *fields: str, duplicates: bool = False) -> None:
        """Outbound messages of this object go there from now on, with these fields."""
        self._do("subscribe", url=url, object=kind, fields=fields, duplicates=duplicates)

    def messages(self) -> dict[str, Any]:
        """Notifications told, waiting, acknowledged, refused and given up; messages sent."""
        found: dict[str, Any] = self._do("messages")
        return found


class RunningSandbox:
    """`with RunningSandbox() as sandbox:` — `.url` and `.token` are what a connection needs, `.admin` steers it.

    The process ends with the block, or with its parent.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = self.pubsub_url = self.token = self.client_id = self.client_secret = self.username = self.private_key = ""

    def start(self) -> RunningSandbox:
        command = [sys.executable, "-m", "syncline_salesforce.sandbox", "--with-parent"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self._process.stdout is None:
            raise RuntimeError("The sandbox's output cannot be read.")
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait(START_WITHIN_S)
            self.stop()
            raise RuntimeError(f"The Salesforce sandbox ended with code {code} before it listened; its message stands above.")
        ready = json.loads(line)
        self.url, self.pubsub_url, self.token = ready["url"], ready["pubsub_url"], ready["token"]
        self.client_id, self.client_secret = ready["client_id"], ready["client_secret"]
        self.username, self.private_key = ready["username"], ready["private_key"]
        self.admin = Admin(self.url)
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if self.url:
            self.admin.close()
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()

    def __enter__(self) -> RunningSandbox:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
