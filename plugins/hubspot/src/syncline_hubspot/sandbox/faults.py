"""Faults on demand: rules that a test arms through the admin API."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from .limits import burst_reached, daily_reached, search_reached
from .wire import ApiError, Call, Json, Reply, error

_GATEWAY = {500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Time-out"}
ANSWERS = ("429_general", "429_search", "429_daily", "409", "423", "477", "500", "502", "503", "504", "html")
"""Answered instead of carrying the call out."""
EFFECTS = ("slow", "cut_before", "cut_after", "partial_write_then_500", "empty_results")
KINDS = ANSWERS + EFFECTS


@dataclass(slots=True)
class Rule:
    """Fires on matching calls: first lets `skip` of them pass, then strikes `times` of them (0: for ever)."""

    kind: str
    endpoint: str = ""
    """A kind of endpoint as in the counters, e.g. `batch_create`; empty matches any."""
    method: str = ""
    path: str = ""
    """A regular expression searched in the path."""
    portal: int = 0
    skip: int = 0
    times: int = 1
    seconds: float = 1.0
    """For `slow`: how long the call waits before it is carried out; for `477`: its Retry-After."""
    partial_body: bool = False
    """For `cut_after`: send the start of an answer before cutting, instead of not a byte."""
    fired: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown fault {self.kind!r}; known are {', '.join(KINDS)}.")
        re.compile(self.path)

    def matches(self, endpoint: str, method: str, path: str, portal: int) -> bool:
        return (
            self.endpoint in ("", endpoint)
            and self.method.upper() in ("", method)
            and self.portal in (0, portal)
            and (not self.path or re.search(self.path, path) is not None)
        )

    def spent(self) -> bool:
        return 0 < self.times <= self.fired


@dataclass(slots=True)
class Faults:
    rules: list[Rule] = field(default_factory=list)

    def arm(self, given: list[Json]) -> None:
        self.rules += [Rule(**each) for each in given]

    def strike(self, endpoint: str, method: str, path: str, portal: int) -> Rule | None:
        """The rule that hits this call, if any; only the first rule that matches counts it."""
        for rule in self.rules:
            if not rule.spent() and rule.matches(endpoint, method, path, portal):
                if rule.skip > 0:
                    rule.skip -= 1
                    return None
                rule.fired += 1
                return rule
        return None

    def as_list(self) -> list[dict[str, Any]]:
        return [asdict(rule) for rule in self.rules]


def answer_of(rule: Rule, group: str) -> ApiError:
    """The answer of a fault that replaces the call."""
    limits = {"429_general": burst_reached(group), "429_search": search_reached(), "429_daily": daily_reached()}
    if rule.kind in limits:
        return limits[rule.kind]
    if rule.kind == "409":
        return error(409, "Contact already exists", "CONFLICT")
    if rule.kind == "423":
        return error(423, "This resource is locked. Try again in a few seconds.", "LOCKED")
    if rule.kind == "477":
        return ApiError(Reply(477, None, {"Retry-After": str(int(rule.seconds))}))
    if rule.kind == "html":
        return ApiError(Reply(200, b"<html><body>Just a moment...</body></html>", media_type="text/html"))
    return _server_error(int(rule.kind))


def _server_error(status: int) -> ApiError:
    if status == 500:
        return error(500, "internal error", "INTERNAL_ERROR")
    page = f"<html><head><title>{status} {_GATEWAY[status]}</title></head></html>"
    return ApiError(Reply(status, page.encode(), media_type="text/html"))


def internal_error() -> ApiError:
    return _server_error(500)


def halved(call: Call) -> None:
    """Leaves the first half of a batch's inputs in the call."""
    body = call.body()
    inputs = body.get("inputs", [])
    call.raw = orjson.dumps({**body, "inputs": inputs[: (len(inputs) + 1) // 2]})


def emptied(reply: Reply) -> Reply:
    """The silent failure seen in the field: success, and nothing in it."""
    if isinstance(reply.payload, dict):
        reply.payload = {**reply.payload, "results": []}
    return reply
