"""Connectors as a person sees them: loaded, switched off or broken, and how many connections depend on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db.models import Count

from syncline import registry
from syncline.contract import ConfigError

from . import access, service
from .models import ConnectorState


@dataclass(frozen=True, slots=True)
class InstalledConnector:
    """`state`: "loaded", "disabled" or "broken"; `reason` and `next_step` only for broken ones. `connections`: visible ones."""

    key: str
    title: str
    distribution: str
    version: str
    state: str
    contract: str = ""
    docs_url: str = ""
    capabilities: tuple[str, ...] = ()
    reason: str = ""
    next_step: str = ""
    connections: int = 0


def listing(user: User) -> list[InstalledConnector]:
    """Everything installed, and connectors that are gone but whose connections are still there."""
    counted = access.visible_connections(user).order_by().values_list("connector").annotate(Count("pk"))
    counts: dict[str, int] = dict(counted)
    off = set(ConnectorState.objects.filter(enabled=False).values_list("key", flat=True))
    found = [*_loaded(counts, off), *_broken(counts)]
    gone = set(counts) - {one.key for one in found}
    found += [
        InstalledConnector(key, key, "", "", "broken", connections=counts[key], reason=_GONE, next_step=_INSTALL) for key in gone
    ]
    return sorted(found, key=lambda one: (one.title.lower(), one.distribution))


_GONE = "It is not installed, but connections of it are stored."
_INSTALL = "Install its package and restart; its connections come back by themselves."


def _loaded(counts: dict[str, int], off: set[str]) -> Iterator[InstalledConnector]:
    for key, one in registry.connectors().items():
        yield InstalledConnector(
            key=key,
            title=one.title,
            distribution=one.distribution,
            version=one.version,
            state="disabled" if key in off else "loaded",
            contract=one.info.contract,
            docs_url=one.info.docs_url,
            capabilities=tuple(sorted(str(each) for each in one.info.capabilities)),
            connections=counts.get(key, 0),
        )


def _broken(counts: dict[str, int]) -> Iterator[InstalledConnector]:
    for one in registry.broken():
        yield InstalledConnector(
            one.key,
            one.key,
            one.distribution,
            one.version,
            "broken",
            reason=one.reason,
            next_step=one.next_step,
            connections=counts.get(one.key, 0),
        )


def switch(key: str, enabled: bool) -> ConnectorState:
    """Switches a loaded connector on or off; its connections are parked or come back. ConfigError when it is not loaded."""
    if key not in registry.connectors():
        raise ConfigError(f"The connector {key} is not loaded. Install or repair its package and restart.")
    state, _ = ConnectorState.objects.update_or_create(key=key, defaults={"enabled": enabled})
    service.park_missing()
    return state
