"""What a handler gets and gives: one call in, one reply or an ApiError out."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .portal import Portal
    from .server import Server
    from .tokens import Grant

Json = dict[str, Any]


@dataclass(slots=True)
class Reply:
    status: int
    payload: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json;charset=utf-8"

    def content(self) -> bytes:
        if self.payload is None:
            return b""
        return self.payload if isinstance(self.payload, bytes) else orjson.dumps(self.payload)


class ApiError(Exception):
    """An answer of HubSpot's that is not a success."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP {reply.status}")
        self.reply = reply


@dataclass(slots=True)
class Call:
    """One request, after routing and authentication."""

    server: Server
    portal: Portal
    grant: Grant
    method: str
    base_url: str
    path: str
    family: str
    """`v3`, `v4`, `2026-03` or `2026-09`."""
    args: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes

    @property
    def dated(self) -> bool:
        return self.family.startswith("20")

    def body(self) -> Json:
        """The JSON object sent; anything else is HubSpot's 400 for unreadable input."""
        try:
            parsed = orjson.loads(self.raw)
        except orjson.JSONDecodeError as error:
            raise invalid_json(str(error)) from error
        if not isinstance(parsed, dict):
            raise invalid_json(f"expected an object, found {type(parsed).__name__}")
        return parsed

    def listed_body(self) -> list[Json]:
        """The JSON array sent."""
        try:
            parsed = orjson.loads(self.raw)
        except orjson.JSONDecodeError as error:
            raise invalid_json(str(error)) from error
        if not isinstance(parsed, list):
            raise invalid_json(f"expected an array, found {type(parsed).__name__}")
        return parsed

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw.decode(), keep_blank_values=True))

    def link(self, **changed: str) -> str:
        """This call's own URL with some query parameters replaced."""
        return f"{self.base_url}{self.path}?{urlencode({**self.query, **changed})}"

    def listed(self, name: str) -> list[str]:
        return [part for part in self.query.get(name, "").split(",") if part]

    def limit(self, default: int, most: int) -> int:
        asked = self.query.get("limit", str(default))
        if not re.fullmatch(r"[0-9]+", asked) or not 1 <= int(asked) <= most:
            raise invalid(f"Invalid limit {asked}: it must be between 1 and {most}")
        return int(asked)


def correlation_id() -> str:
    return str(uuid.uuid4())


def error(status: int, message: str, category: str | None = None, **extra: Any) -> ApiError:
    body: Json = {"status": "error", "message": message, "correlationId": correlation_id(), **extra}
    if category:
        body["category"] = category
    return ApiError(Reply(status, body))


def invalid(message: str, **extra: Any) -> ApiError:
    return error(400, message, "VALIDATION_ERROR", **extra)


def invalid_json(detail: str) -> ApiError:
    """HubSpot gives this one no category."""
    return error(400, f"Invalid input JSON: {detail}")


def not_found_json() -> ApiError:
    found = error(404, "resource not found")
    found.reply.headers["X-HubSpot-NotFound"] = "true"
    return found


def not_found_html() -> ApiError:
    """A single GET that finds nothing is answered by the servlet container, not by the API."""
    page = b"<html>\n<head>\n<title>Error 404 Not Found</title>\n</head>\n<body><h2>HTTP ERROR 404</h2>\n"
    page += b"<p>Resource not found</p>\n</body>\n</html>\n"
    return ApiError(Reply(404, page, {"X-HubSpot-NotFound": "true"}, "text/html;charset=iso-8859-1"))


def embedded(value: Any) -> str:
    """JSON inside a message, spaced the way HubSpot does it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
