"""The conformance suite that ships with the contract. A connector opts in with one assignment:

TestNotes = conformance(Notes, Target(server=sandboxed(...), object_type="notes", record=..., ...))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .delivery import Delivery
    from .suite import conformance
    from .target import Server, Target, sandboxed

__all__ = ["Delivery", "Server", "Target", "conformance", "sandboxed"]

_HOMES = {"conformance": "suite", "Delivery": "delivery", "Server": "target", "Target": "target", "sandboxed": "target"}


def __getattr__(name: str) -> Any:
    """Loads on use: the pytest plugin lives in this package and is imported by every pytest run."""
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
