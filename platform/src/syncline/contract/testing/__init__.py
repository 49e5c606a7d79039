"""The conformance suite that ships with the contract."""

from __future__ import annotations
