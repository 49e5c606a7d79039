"""The Kafka connector: which hook is answered where."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from syncline.contract import AuthMethod, ConnectorInfo, ConnectorSpec, hookimpl


class Kafka(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo(
            key="kafka",
            title="Apache Kafka",
            version=version("syncline-kafka"),
            contract=">=1,<2",
            capabilities=frozenset(),
            docs_url="https://kafka.apache.org/documentation/",
        )

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [AuthMethod(key="none", title="No log-in", kind="none")]
