"""The list of saboteurs: connectors that break one rule of the contract each, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from syncline.contract import ConnectorSpec

C = TypeVar("C", bound=type[ConnectorSpec])

SABOTEURS: list[tuple[str, type[ConnectorSpec]]] = []


def breaks(check: str) -> Callable[[C], C]:
    """Says which check, and no other, must notice."""

    def register(saboteur: C) -> C:
        SABOTEURS.append((check, saboteur))
        return saboteur

    return register
