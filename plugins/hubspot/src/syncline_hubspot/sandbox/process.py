"""A sandbox in a process of its own, and a small client for its admin API: for tests, the demo and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import requests
from syncline.contract.testing.sandbox import SandboxProcess


class Admin:
    """The admin API under `/_sandbox`. Every method raises `requests.HTTPError` with the sandbox's sentence if it is refused."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/_sandbox"
        self._http = requests.Session()

    def _do(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self._http.request(method, self._url + path, json=body, params=query, timeout=60)
        if answer.status_code >= 400:
            raise requests.HTTPError(f"The sandbox refused {method} {path}: {answer.text}", response=answer)
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()

    def counters(self) -> dict[str, Any]:
        """Calls by kind of endpoint, and write_calls, read_calls, schema_calls, total_calls, answers_429, answers."""
        found: dict[str, Any] = self._do("GET", "/counters")
        return found

    def reset_counters(self) -> None:
        self._do("POST", "/counters/reset")

    def now(self) -> float:
        return float(self._do("GET", "/clock")["now"])

    def cpu_s(self) -> float:
        """Processor time the sandbox has used so far."""
        return float(self._do("GET", "/clock")["cpu_s"])

    def advance(self, seconds: float) -> float:
        """Moves the sandbox's clock forward: index lag, token expiry and rate windows pass without waiting."""
        return float(self._do("POST", "/clock", {"advance": seconds})["now"])

    def config(self, **changes: Any) -> dict[str, Any]:
        """Changes settings (see Config) and returns all of them."""
        found: dict[str, Any] = self._do("POST", "/config", changes)
        return found

    def fault(self, kind: str, **rule: Any) -> None:
        """Arms one fault; `rule` as in faults.Rule: endpoint, method, path, portal, skip, times, seconds, partial_body."""
        self._do("POST", "/faults", {"kind": kind, **rule})

    def faults(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._do("GET", "/faults")
        return found

    def clear_faults(self) -> None:
        self._do("DELETE", "/faults")

    def reset(self) -> None:
        """Forgets all records, counters and faults; tokens and settings stay."""
        self._do("POST", "/reset")

    def issue_token(self, scopes: list[str] | None = None, portal: int | None = None) -> str:
        given: dict[str, Any] = {} if scopes is None else {"scopes": scopes}
        return str(self._do("POST", "/tokens", given if portal is None else {**given, "portal": portal})["token"])

    def revoke_tokens(self, token: str | None = None, portal: int | None = None) -> int:
        """One token, or every token of an account (the default one if none is named)."""
        given: dict[str, Any] = {"token": token} if token else ({"portal": portal} if portal else {})
        return int(self._do("POST", "/tokens/revoke", given)["revoked"])

    def seed(self, object_type: str, records: list[dict[str, Any]], **query: Any) -> list[str]:
        """Writes records in bulk, not counted as calls and visible to search at once; returns their ids in order."""
        ids: list[str] = self._do("POST", f"/objects/{object_type}/seed", records, **query)["ids"]
        return ids

    def dump(self, object_type: str, **query: Any) -> list[dict[str, Any]]:
        """Every record with id, properties, archived, merged_into, associations; filters: property+value, ids, archived=false."""
        found: list[dict[str, Any]] = self._do("GET", f"/objects/{object_type}", **query)["results"]
        return found

    def live(self, object_type: str, **query: Any) -> list[dict[str, Any]]:
        return self.dump(object_type, archived="false", **query)

    def merge(self, object_type: str, record_id: str, into: str, **query: Any) -> str:
        """Merges a record into another; returns the id of the third one that takes their place."""
        return str(self._do("POST", f"/objects/{object_type}/{record_id}/merge", {"into": into}, **query)["id"])

    def delete(self, object_type: str, record_id: str, **query: Any) -> None:
        self._do("DELETE", f"/objects/{object_type}/{record_id}", **query)

    def patch(self, object_type: str, record_id: str, properties: dict[str, Any], **query: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._do("PATCH", f"/objects/{object_type}/{record_id}", properties, **query)
        return found

    def edit(self, object_type: str, properties: dict[str, str], ids: list[str] | None = None, **query: Any) -> list[str]:
        """A person edits many records, or all, at one instant; `{n}` in a value counts them. Returns their ids."""
        given: dict[str, Any] = {"properties": properties, **({"ids": ids} if ids is not None else {})}
        edited: list[str] = self._do("POST", f"/objects/{object_type}/edit", given, **query)["ids"]
        return edited

    def restore(self, object_type: str, record_id: str, **query: Any) -> None:
        """Takes a record out of the bin."""
        self._do("POST", f"/objects/{object_type}/{record_id}/restore", **query)

    def owners(self, *owners: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
        """Adds owners, or changes those with a known `id`; returns all."""
        found: list[dict[str, Any]] = self._do("POST", "/owners", list(owners), **query)["results"]
        return found

    def subscribe(self, url: str, *events: str | dict[str, str], secret: str = "") -> None:
        """Events go there from now on: those named (`company.creation`), or all of companies, contacts and deals.

        Signed with `secret`, or with the secret of the sandbox's app. Settings with `webhook_` change how they are delivered.
        """
        self._do("POST", "/webhooks", {"url": url, "secret": secret, "events": list(events)})

    def unsubscribe(self) -> None:
        self._do("DELETE", "/webhooks")

    def webhooks(self) -> dict[str, Any]:
        """Events told, acknowledged, waiting and given_up; deliveries made and refused."""
        found: dict[str, Any] = self._do("GET", "/webhooks")
        return found

    def acknowledged(self) -> list[int]:
        """`eventId` of the events whose delivery was answered with a 2xx, as often as it was."""
        found: list[int] = self._do("GET", "/webhooks/acknowledged")["events"]
        return found

    def link(self, object_type: str, to_type: str, pairs: list[tuple[str, str]], **query: Any) -> None:
        given = [{"from": start, "to": end} for start, end in pairs]
        self._do("POST", f"/associations/{object_type}/{to_type}", given, **query)

    def fail_import(self, number: str, **query: Any) -> None:
        self._do("POST", f"/imports/{number}/fail", **query)

    def delete_property(self, object_type: str, name: str, **query: Any) -> None:
        self._do("DELETE", f"/properties/{object_type}/{name}", **query)

    def patch_property(self, object_type: str, name: str, changes: dict[str, Any], **query: Any) -> dict[str, Any]:
        """Changes a definition; `{"remove_options": [value, …]}` takes options away."""
        found: dict[str, Any] = self._do("PATCH", f"/properties/{object_type}/{name}", changes, **query)
        return found


class RunningSandbox(SandboxProcess):
    """`with RunningSandbox(limits=False) as sandbox:` — options as those of the command line, underscores for dashes.

    `.url` and `.token` are what a connection needs, `.admin` steers it. The process ends with the block, or with its parent.
    """

    admin: Admin

    def __init__(self, *, limits: bool = True, redirect_uri: str | list[str] = (), **options: Any) -> None:  # type: ignore[assignment]
        uris = [redirect_uri] if isinstance(redirect_uri, str) else list(redirect_uri)
        arguments = ["--limits", "on" if limits else "off"]
        for name, value in (*options.items(), *(("redirect_uri", uri) for uri in uris)):
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        super().__init__("syncline_hubspot.sandbox", *arguments)
        self._http = requests.Session()

    def opened(self, ready: Mapping[str, Any]) -> None:
        super().opened(ready)
        self.admin = Admin(self.url)

    def closed(self) -> None:
        self._http.close()
        if self.url:
            self.admin.close()

    def request(self, method: str, path: str, body: Any = None, *, token: str = "", **query: Any) -> requests.Response:
        """One call of HubSpot's API with the private token, or another; the answer as it is, errors too."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self._http.request(method, self.url + path, json=body, params=query, headers=headers, timeout=60)
