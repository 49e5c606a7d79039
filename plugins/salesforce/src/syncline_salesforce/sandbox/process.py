"""A sandbox in a process of its own, and a small client for its admin API: for tests and demos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import requests
from syncline.contract.testing.sandbox import SandboxProcess


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


class RunningSandbox(SandboxProcess):
    """`with RunningSandbox() as sandbox:` — `.url` and `.token` are what a connection needs, `.admin` steers it.

    The process ends with the block, or with its parent.
    """

    admin: Admin

    def __init__(self) -> None:
        super().__init__("syncline_salesforce.sandbox")
        self.pubsub_url = self.client_id = self.client_secret = self.username = self.private_key = ""

    def opened(self, ready: Mapping[str, Any]) -> None:
        super().opened(ready)
        self.pubsub_url = ready["pubsub_url"]
        self.client_id, self.client_secret = ready["client_id"], ready["client_secret"]
        self.username, self.private_key = ready["username"], ready["private_key"]
        self.admin = Admin(self.url)

    def closed(self) -> None:
        if self.url:
            self.admin.close()
