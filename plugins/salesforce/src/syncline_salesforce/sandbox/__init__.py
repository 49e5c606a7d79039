"""A local server that behaves like Salesforce's API: `python -m syncline_salesforce.sandbox`, or `RunningSandbox` in code."""

from __future__ import annotations
