"""The registry of this process: what is installed, or what a test puts in its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from syncline.contract import Dataset

from .discovery import CONNECTORS, installed
from .facade import Connector
from .loading import Broken
from .plugins import Registry, implements_hooks

_current: Registry | None = None


def registry() -> Registry:
    global _current  # noqa: PLW0603 - one per process, replaceable by `using`
    if _current is None:
        _current = Registry(installed(CONNECTORS), _installed_apps())
    return _current


def _installed_apps() -> Iterator[object]:
    from django.apps import apps

    yield from filter(implements_hooks, apps.get_app_configs())


def reset() -> None:
    """Forgets what was loaded; the next question loads again."""
    global _current  # noqa: PLW0603
    _current = None


@contextmanager
def using(replacement: Registry) -> Iterator[Registry]:
    """Puts `replacement` in the place of the installed plugins, for tests."""
    global _current  # noqa: PLW0603
    before, _current = _current, replacement
    try:
        yield replacement
    finally:
        _current = before


def connectors() -> Mapping[str, Connector]:
    return registry().connectors


def connector(key: str) -> Connector:
    return registry().connector(key)


def broken() -> Sequence[Broken]:
    return registry().broken


def datasets() -> Mapping[str, Dataset]:
    return registry().datasets


def dataset(key: str) -> Dataset:
    return registry().dataset(key)
