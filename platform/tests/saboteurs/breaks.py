"""The list of saboteurs: connectors that break one rule of the contract each, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from syncline.contract import ConnectorSpec, ObjectType
from syncline_notes.connector import Notes

C = TypeVar("C", bound=type[ConnectorSpec])

SABOTEURS: list[tuple[str, type[ConnectorSpec]]] = []


def _spare_logs(saboteur: type[ConnectorSpec]) -> None:
    """What a saboteur does to records is not to be done to messages: the checks of logs would notice it too."""
    for name in ("push", "pull"):
        theirs, honest = getattr(saboteur, name), getattr(Notes, name)
        if theirs is not honest:
            setattr(saboteur, name, _but_logs(theirs, honest))


def _but_logs(theirs: Callable[..., Any], honest: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def call(self: Any, session: Any, object_type: ObjectType, given: Any) -> Any:
        return (honest if object_type.log else theirs)(self, session, object_type, given)

    return call


def breaks(check: str) -> Callable[[C], C]:
    """Says which check, and no other, must notice."""

    def register(saboteur: C) -> C:
        if not check.startswith("log-"):
            _spare_logs(saboteur)
        SABOTEURS.append((check, saboteur))
        return saboteur

    return register
