"""The Kafka connector: which hook is answered where."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from syncline.contract import (
    Account,
    AuthMethod,
    Capability,
    Change,
    ConnectorInfo,
    ConnectorSpec,
    DatasetInfo,
    ObjectType,
    Page,
    PullRequest,
    PushResult,
    Sandbox,
    Session,
    SuggestedMapping,
    hookimpl,
)

from . import mapping, settings
from .cluster import cluster
from .pull import pull
from .push import push
from .topics import discover

ABLE = frozenset(
    {
        Capability.CHECK,
        Capability.DISCOVER,
        Capability.SUGGEST_MAPPING,
        Capability.PUSH,
        Capability.PULL,
        Capability.PARTITIONS,
        Capability.SANDBOX,
    }
)


class Kafka(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo(
            key="kafka",
            title="Apache Kafka",
            version=version("syncline-kafka"),
            contract=">=1,<2",
            capabilities=ABLE,
            settings_schema=settings.SETTINGS,
            docs_url="https://kafka.apache.org/documentation/",
        )

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return [
            AuthMethod(key="none", title="No log-in", kind="none"),
            AuthMethod(key="sasl", title="User and password (SASL)", kind="basic", schema=settings.LOGIN),
        ]

    @hookimpl
    def check(self, session: Session) -> Account:
        found = cluster(session).metadata(session)
        servers = str(session.settings["bootstrap_servers"])
        details = {"brokers": len(found.brokers), "topics": len(found.topics)}
        return Account(found.cluster_id or servers, f"Kafka at {servers}", details=details)

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return discover(session)

    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        return mapping.suggest(dataset, object_type)

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        return push(session, object_type, changes)

    @hookimpl
    def partitions(self, session: Session, object_type: ObjectType) -> Sequence[str]:
        return [str(number) for number in cluster(session).partitions(session, object_type.key)]

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        return pull(session, object_type, request)

    @hookimpl
    def sandbox(self) -> Sandbox:
        command = (sys.executable, "-m", "syncline_kafka.sandbox")
        return Sandbox(command=command, settings={"bootstrap_servers": "{bootstrap_servers}"})
