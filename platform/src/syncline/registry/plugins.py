"""One set of plugins: connectors, each by itself, and apps, together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib.metadata import EntryPoint
from typing import Any

import pluggy
from django.core.exceptions import ImproperlyConfigured

from syncline.contract import AppSpec, ConfigError, Dataset
from syncline.contract.hookspecs import PROJECT

from .facade import Connector
from .loading import Broken, load

DATASET_KEY = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*\Z")


class Registry:
    """Made from the entry points and app objects it is given; each half is loaded when first asked for.

    A broken connector is data (`broken`); a broken app raises ImproperlyConfigured, because an app is part of the host.
    """

    def __init__(self, connectors: Iterable[EntryPoint] = (), apps: Iterable[Any] = ()) -> None:
        self._entries = tuple(connectors)
        self._apps = apps  # read once, when first needed: Django may not be ready yet

    @cached_property
    def _loaded(self) -> tuple[dict[str, Connector], list[Broken]]:
        return load(self._entries)

    @property
    def connectors(self) -> Mapping[str, Connector]:
        return self._loaded[0]

    @property
    def broken(self) -> Sequence[Broken]:
        return self._loaded[1]

    def connector(self, key: str) -> Connector:
        """The working connector of that key; ConfigError says why there is none."""
        if key in self.connectors:
            return self.connectors[key]
        for one in self.broken:
            if one.key == key:
                raise ConfigError(f"The connector {key} does not work: {one.reason} {one.next_step}")
        raise ConfigError(f"The connector {key} is not installed. Install its package and restart.")

    @cached_property
    def datasets(self) -> Mapping[str, Dataset]:
        """Every dataset of every app, by key."""
        found: dict[str, Dataset] = {}

        def register(dataset: Dataset) -> None:
            key = dataset.info.key
            if not DATASET_KEY.match(key):
                raise ImproperlyConfigured(f"The dataset key {key!r} is not of the form <app label>.<name>.")
            if key in found:
                owners = f"{type(found[key]).__qualname__} and {type(dataset).__qualname__}"
                raise ImproperlyConfigured(f"The dataset {key} is registered twice: by {owners}.")
            found[key] = dataset

        self._app_hooks.register_datasets(register=register)
        return dict(sorted(found.items()))

    def dataset(self, key: str) -> Dataset:
        """The dataset of that key; ConfigError when no installed app offers it."""
        if key not in self.datasets:
            raise ConfigError(f"No installed app offers the dataset {key}. Install the app and restart.")
        return self.datasets[key]

    @cached_property
    def api_routes(self) -> Mapping[str, Sequence[Any]]:
        """URL patterns by app label, to be mounted at /api/v1/<app label>/."""
        return _offered(self._app_hooks.api_routes)

    @cached_property
    def api_root_routes(self) -> Mapping[str, Sequence[Any]]:
        """URL patterns by app label, to be mounted at /api/v1/ after everything else."""
        return _offered(self._app_hooks.api_root_routes)

    @cached_property
    def _app_hooks(self) -> Any:
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(AppSpec)
        try:
            for app in self._apps:
                manager.register(app, app.label)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise ImproperlyConfigured(f"The hooks of an app do not fit the contract: {error}") from error
        return manager.hook


def _offered(hook: Any) -> Mapping[str, Sequence[Any]]:
    """In the order of registration; pluggy's own is the other way round."""
    return {offer.plugin.label: list(offer.function()) for offer in reversed(hook.get_hookimpls())}


def implements_hooks(app: object) -> bool:
    return any(hasattr(getattr(type(app), name, None), f"{PROJECT}_impl") for name in dir(type(app)))
