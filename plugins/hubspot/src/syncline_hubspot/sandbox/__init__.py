"""A local server that behaves like HubSpot's API: `python -m syncline_hubspot.sandbox`, or `RunningSandbox` in code."""

from __future__ import annotations
