"""Finding the endpoint of a path: a tree of segments, because a list of patterns would cost more than the call itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .wire import Call, Reply

Handler = Callable[[Call], Reply]
Scopes = Callable[[Call], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    kind: str
    """Its name in counters and faults."""
    handler: Handler
    scopes: Scopes | None
    """Scopes of which the token needs one; None for endpoints without a bearer token and without limits."""
    pool: str = "burst"
    family: str = "v3"


@dataclass(slots=True)
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    methods: dict[str, tuple[Endpoint, tuple[str, ...]]] = field(default_factory=dict)


class Router:
    def __init__(self) -> None:
        self._root = _Node()

    def add(self, method: str, path: str, endpoint: Endpoint) -> None:
        node = self._root
        names: list[str] = []
        for segment in path.strip("/").split("/"):
            if segment.startswith("{"):
                names.append(segment.strip("{}"))
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        node.methods[method] = (endpoint, tuple(names))

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        found = _walk(self._root, path.strip("/").split("/"), 0, ())
        if found is None or method not in found[0].methods:
            return None
        endpoint, names = found[0].methods[method]
        return endpoint, dict(zip(names, found[1], strict=True))


def _walk(node: _Node, segments: list[str], depth: int, caught: tuple[str, ...]) -> tuple[_Node, tuple[str, ...]] | None:
    """Literal segments win over variable ones, with a way back when they lead nowhere."""
    if depth == len(segments):
        return (node, caught) if node.methods else None
    segment = segments[depth]
    literal = node.literal.get(segment)
    found = _walk(literal, segments, depth + 1, caught) if literal else None
    if found is None and node.any:
        found = _walk(node.any, segments, depth + 1, (*caught, segment))
    return found
