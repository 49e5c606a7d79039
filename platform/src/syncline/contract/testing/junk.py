"""Bodies that no vendor sends and anybody can, and what it costs to read them."""

from __future__ import annotations

import copy
import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

DEEP = 100_000
BOMB = 80 * 1024 * 1024
#: In place of a part of the body: types that it may not have, and values of a type that are beyond reason.
STRANGE: tuple[Any, ...] = (None, True, -7, 10**30, 1.5, "", "\x00", "not-a-moment", [], {}, [[]], {"a": {}})

_TRACING = threading.Lock()


def junk(genuine: bytes) -> Iterator[tuple[str, bytes]]:
    """What it is, and the body."""
    yield "empty", b""
    yield "a text", b"This is not a delivery."
    yield "a page of HTML", b"<html><body>Sign in</body></html>"
    yield "binary", bytes(range(256)) * 64
    yield "cut in the middle", genuine[: len(genuine) // 2]
    yield "of another encoding", b'{"\xe9t\xe9": "' + "Zoë".encode("latin-1") + b'"}'
    yield "half a surrogate's bytes", b'["\xed\xa0\x80"]'
    yield "packed", gzip.compress(genuine)
    yield "a packed bomb", bomb()
    yield f"{DEEP} arrays deep", b"[" * DEEP
    yield f"{DEEP} arrays deep and closed", b"[" * DEEP + b"]" * DEEP
    yield f"{DEEP} objects deep", b'{"a":' * DEEP + b"1" + b"}" * DEEP
    yield "a megabyte of nesting", b"[" * (1024 * 1024)


def bomb() -> bytes:
    """A few kilobytes that unpack to very much."""
    return gzip.compress(bytes(1024 * 1024)) * (BOMB // (1024 * 1024))


def spoilt(genuine: bytes) -> Iterator[tuple[str, bytes]]:
    """The body with one part replaced by something strange, or left out; nothing when it is not JSON."""
    try:
        whole = json.loads(genuine)
    except ValueError:
        return
    for strange in STRANGE:
        yield f"{json.dumps(strange)} and nothing else", json.dumps(strange).encode()
    for path in _paths(whole):
        for strange in STRANGE:
            yield f"{json.dumps(strange)} at {path}", json.dumps(_with(whole, path, strange)).encode()
        if isinstance(path[-1], str):
            yield f"nothing at {path}", json.dumps(_without(whole, path)).encode()


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from _paths(below, (*path, key))


def _parent(whole: Any, path: tuple[str | int, ...]) -> Any:
    for key in path[:-1]:
        whole = whole[key]
    return whole


def _with(whole: Any, path: tuple[str | int, ...], value: Any) -> Any:
    changed = copy.deepcopy(whole)
    _parent(changed, path)[path[-1]] = value
    return changed


def _without(whole: Any, path: tuple[str | int, ...]) -> Any:
    changed = copy.deepcopy(whole)
    del _parent(changed, path)[path[-1]]
    return changed


def weighed(call: Callable[[], T]) -> tuple[T, float, float]:
    """What the call gave, the seconds it took, and the megabytes it held at most."""
    with _TRACING:
        running = tracemalloc.is_tracing()
        if not running:
            tracemalloc.start()
        tracemalloc.reset_peak()
        held, started = tracemalloc.get_traced_memory()[0], time.thread_time()
        try:
            given = call()
            seconds = time.thread_time() - started
            return given, seconds, (tracemalloc.get_traced_memory()[1] - held) / 1024**2
        finally:
            if not running:
                tracemalloc.stop()
