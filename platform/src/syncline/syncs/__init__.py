"""Syncs: what goes where. Models, the pure mapping engine (`engine`) and publishing."""

from __future__ import annotations
