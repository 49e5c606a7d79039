"""The connectors and apps that are installed, and why some of them do not work.

Everything reaches plugins through here: `connector("hubspot").call.push(session=…, object_type=…, changes=…)`.
Nothing is loaded at import; the first question loads. Tests put a registry of their own in place with `using`.
"""

from __future__ import annotations

from .current import broken, connector, connectors, dataset, datasets, registry, reset, using
from .facade import Connector
from .loading import Broken
from .plugins import Registry

__all__ = [
    "Broken",
    "Connector",
    "Registry",
    "broken",
    "connector",
    "connectors",
    "dataset",
    "datasets",
    "registry",
    "reset",
    "using",
]
