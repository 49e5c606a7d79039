"""pytest plugin of the conformance suite (entry point `pytest11`)."""

from __future__ import annotations
