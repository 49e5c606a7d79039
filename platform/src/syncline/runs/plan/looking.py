"""A connector that can only look: what a plan works with."""

from __future__ import annotations

import copy
from typing import Any, Final, cast

from syncline.contract import ConnectorSpec, UnsupportedFeature
from syncline.registry.facade import Connector

READS: Final = frozenset({"describe", "check", "discover", "fetch", "match", "pull", "partitions"})
"""Hooks that change nothing remotely. Whatever else the contract gets is refused until it is named here."""


def read_only(connector: Connector) -> Connector:
    """The same connector; every hook that could write raises UnsupportedFeature before the connector is reached."""
    bare = copy.copy(connector)
    bare.implements = connector.implements & READS
    bare.call = cast(ConnectorSpec, _Looking(connector))
    return bare


class _Looking:
    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def __getattr__(self, hook: str) -> Any:
        if hook not in READS:
            raise UnsupportedFeature(f"A plan writes nothing: {hook} of the connector {self._connector.key} cannot be called.")
        return getattr(self._connector.call, hook)
