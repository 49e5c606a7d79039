"""The list of saboteurs: connectors that break one rule of the contract each, and nothing else."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from syncline.contract import ConnectorSpec, ObjectType
from syncline_notes.connector import Notes

C = TypeVar("C", bound=type[ConnectorSpec])

SABOTEURS: list[tuple[str, type[ConnectorSpec]]] = []


def _spare(saboteur: type[ConnectorSpec], check: str) -> None:
    """What a saboteur does to records is not to be done to messages and to what is followed, whose checks would notice it too."""
    for name in ("push", "pull"):
        theirs, honest = getattr(saboteur, name), getattr(Notes, name)
        if theirs is not honest:
            setattr(saboteur, name, _honest_where_spared(theirs, honest, follow=check != "follow"))


def _honest_where_spared(theirs: Callable[..., Any], honest: Callable[..., Any], *, follow: bool) -> Callable[..., Any]:
    @functools.wraps(theirs)
    def call(self: Any, session: Any, object_type: ObjectType, given: Any) -> Any:
        if object_type.log or (follow and getattr(given, "follow", False)):
            return honest(Notes(), session, object_type, given)  # which pulls by itself again and again when it follows
        return theirs(self, session, object_type, given)

    return call


def breaks(check: str) -> Callable[[C], C]:
    """Says which check, and no other, must notice."""

    def register(saboteur: C) -> C:
        if not check.startswith("log-"):
            _spare(saboteur, check)
        SABOTEURS.append((check, saboteur))
        return saboteur

    return register
