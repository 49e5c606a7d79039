"""The checks, by what they look at. Importing this package registers all of them."""

from __future__ import annotations

from . import bulk, catalog, description, faults, process, push, read, secrecy

__all__ = ["bulk", "catalog", "description", "faults", "process", "push", "read", "secrecy"]
