"""HubSpot's official client library over the session's `http`.

The library's API objects build paths and bodies; its `ApiClient` is replaced whole. The original opens a connection pool per
API object that knows no time-out and no budget, resets the log levels of urllib3 when it is made, answers None to an
undocumented 2xx, and its models cost ten times the CPU of plain dicts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import quote

from syncline.contract import Response, Retryable, Session, Upload

from .errors import Json, failure
from .waits import FileWaits, Waits

PAGE = 100
HISTORY_PAGE = 50
# What the library calls → what it is called from the first dated version on. {v} is the version's date.
DATED = {
    "/crm/v3/objects": "/crm/objects/{v}",
    "/crm/v4/associations": "/crm/associations/{v}",
    "/crm/v3/properties": "/crm/properties/{v}",
    "/crm/v3/owners": "/crm/owners/{v}",
    "/crm/v3/pipelines": "/crm/pipelines/{v}",
    "/crm-object-schemas/v3": "/crm-object-schemas/{v}",
    "/account-info/v3": "/account-info/{v}",
    "/crm/v3/imports": "/crm/imports/{v}",
}
# Our name → package and class of the library.
APIS = {
    "objects": ("objects", "BasicApi"),
    "batch": ("objects", "BatchApi"),
    "search": ("objects", "SearchApi"),
    "associations": ("associations.v4", "BatchApi"),
    "properties": ("properties", "CoreApi"),
    "property_batch": ("properties", "BatchApi"),
    "property_groups": ("properties", "GroupsApi"),
    "schemas": ("schemas", "CoreApi"),
    "owners": ("owners", "OwnersApi"),
    "pipelines": ("pipelines", "PipelinesApi"),
}


def versioned(path: str, version: str) -> str:
    if version == "v3":
        return path
    old = next(prefix for prefix in DATED if path.startswith(prefix))
    return DATED[old].format(v=version) + path.removeprefix(old)


def limit_of(path: str) -> str:
    """Search and associations have allowances of their own and do not count against the general one."""
    if path.endswith("/search"):
        return "search"
    return "associations" if "/associations/" in path else "general"


class Client:
    """Gives parsed bodies; anything but a 2xx is raised (see `errors.failure`)."""

    client_side_validation = False  # asked for by the library's API objects

    def __init__(self, session: Session) -> None:
        self._http, settings = session.http, session.settings
        self._base, self._version = settings["api_url"].rstrip("/"), settings["api_version"]

    def call_api(
        self, path: str, method: str, path_params: Mapping[str, Any], query: Any, _headers: Any, body: Any = None, **_: Any
    ) -> Json:
        """The one entry of the library's API objects; what else they pass concerns their own transport."""
        for name, value in path_params.items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        params = {name: _parameter(value) for name, value in query}
        return self.call(method, path, body, params)

    def call(self, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None) -> Json:
        path = versioned(path, self._version)
        read = method == "GET" or path.endswith(("/batch/read", "/search"))
        response = self._http.request(
            method, self._base + path, json=body, params=params, limit=limit_of(path), repeatable=read, wait=Waits()
        )
        if response.status >= 300:
            raise failure(response)
        return _parsed(response, read)

    def upload(self, path: str, body: Upload, kind: str) -> Json:
        """Hands in a file. Files have an allowance of their own, so that one refused holds up no other call."""
        address, headers = self._base + versioned(path, self._version), {"Content-Type": kind}
        response = self._http.request("POST", address, data=body, headers=headers, limit="imports", wait=FileWaits())
        if response.status >= 300:
            raise failure(response)
        return _parsed(response, read=False)

    def select_header_accept(self, kinds: list[str]) -> str:
        return ", ".join(kinds)

    def select_header_content_type(self, kinds: list[str], *_: Any) -> str:
        return kinds[0]

    def pages(self, get_page: Any, *args: Any, **query: Any) -> Iterator[tuple[list[Json], str | None]]:
        """Pages of a listing, each with the position after it."""
        query = {"limit": PAGE, **query}
        ahead = Ahead(query.get("after"))
        while True:
            answer = get_page(*args, **query)
            query["after"] = ahead.to(following(answer))
            yield answer.get("results") or [], query["after"]
            if query["after"] is None:
                return

    def __getattr__(self, name: str) -> Any:
        """The library's API object of that name, made on first use."""
        if name not in APIS:
            raise AttributeError(name)
        package, kind = APIS[name]
        made = getattr(import_module(f"hubspot.crm.{package}"), kind)(self)
        setattr(self, name, made)
        return made


class Ahead:
    """Notices a listing that goes round in a circle, without remembering all its positions (Brent's way)."""

    def __init__(self, start: str | None) -> None:
        self._known, self._steps, self._until = start, 0, 1

    def to(self, position: str | None) -> str | None:
        if position is not None and position == self._known:
            raise Retryable("HubSpot listed the same page twice, so the listing would never end. It is listed again.")
        self._steps += 1
        if self._steps == self._until:
            self._known, self._until = position, 2 * self._until
        return position


def following(answer: Json) -> str | None:
    """Where the next page of a listing begins; None after the last."""
    after = ((answer.get("paging") or {}).get("next") or {}).get("after")
    return None if after is None else str(after)


def _parameter(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else value


def _parsed(response: Response, read: bool) -> Json:
    if response.status == 204:
        return {}
    if read and "json" not in response.headers.get("Content-Type", ""):
        raise Retryable(f"{response.method} {response.path} answered with a page instead of data.")
    parsed: Json = response.json()
    if read and not isinstance(parsed, dict):
        raise Retryable(f"{response.method} {response.path} answered with {type(parsed).__name__} instead of an object.")
    return parsed
