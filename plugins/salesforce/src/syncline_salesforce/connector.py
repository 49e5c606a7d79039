"""The Salesforce connector: which hook is answered where."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from syncline.contract import (
    Account,
    Answer,
    AuthMethod,
    BulkJob,
    Capability,
    Change,
    Collected,
    ConnectorInfo,
    ConnectorSpec,
    DatasetInfo,
    Event,
    Limit,
    ObjectType,
    Page,
    PullRequest,
    PushResult,
    Receipt,
    RemoteRecord,
    Sandbox,
    Session,
    SuggestedMapping,
    Verification,
    WebhookRequest,
    hookimpl,
)

from . import bulk, follow, mapping, objects, pull, push, reading, signatures, signing_in, webhooks
from .account import organization
from .client import Client

SETTINGS: Final = {
    "type": "object",
    "properties": {
        "instance_url": {
            "type": "string",
            "title": "My Domain address",
            "description": "https://….my.salesforce.com, as Setup shows it under My Domain. Log-in and calls go there.",
            "format": "uri",
            "pattern": "^https?://[^/]+/?$",
        },
        "api_version": {
            "type": "string",
            "title": "API version",
            "description": "Three versions come each year, and one lives for three years at least.",
            "pattern": r"^v[1-9]\d\.0$",
            "default": "v67.0",
        },
        "pubsub_url": {
            "type": "string",
            "title": "Address of the event bus",
            "description": "Host and port of the Pub/Sub API, from where changes are followed.",
            "pattern": r"^[A-Za-z0-9.:\[\]-]+:\d+$",
            "default": "api.pubsub.salesforce.com:7443",
        },
    },
    "required": ["instance_url"],
    "additionalProperties": False,
}
LIMITS: Final = (
    Limit(
        "daily",
        "account",
        "every call, over all apps of the account, in any 24 hours; how many, is learnt",
        86_400.0,
        100_000,
        every_call=True,
        headers={"Sforce-Limit-Info": "api-usage={used}/{size}"},
    ),
)


LEADS_TO_SANDBOX: Final = {"instance_url": "{url}", "pubsub_url": "{pubsub_url}"}


class Salesforce(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo(
            key="salesforce",
            title="Salesforce",
            version=version("syncline-salesforce"),
            contract=">=1,<2",
            capabilities=frozenset(Capability) - {Capability.CREATE_PROPERTIES, Capability.PARTITIONS},
            settings_schema=SETTINGS,
            hosts=("*.salesforce.com",),
            limits=LIMITS,
            docs_url="https://developer.salesforce.com/docs",
            unsigned_webhooks=True,
            answers_unread=True,
        )

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        return signing_in.methods()

    @hookimpl
    def check(self, session: Session) -> Account:
        found = organization(session)
        names = ("OrganizationType", "InstanceName", "IsSandbox")
        details = {name: found[name] for name in names if name in found}
        return Account(found["Id"], found["Name"], session.settings["instance_url"], details)

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return objects.discover(Client(session))

    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        return mapping.suggest(dataset, object_type)

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        return push.push(Client(session), object_type, changes)

    @hookimpl
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        return bulk.submit(Client(session), object_type, job)

    @hookimpl
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        return bulk.collect(Client(session), object_type, token, keys)

    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],  # noqa: ARG002 - records refer to others by fields
        history: Sequence[str],  # noqa: ARG002 - kept of a few fields only, in objects of their own
    ) -> Mapping[str, RemoteRecord]:
        return reading.fetch(Client(session), object_type, ids, properties)

    @hookimpl
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return reading.match(Client(session), object_type, step, values)

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        if request.follow:
            return follow.follow(session, object_type, request)
        return pull.pull(Client(session), object_type, request)

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return signatures.verify(request, secrets)

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        return webhooks.parse(request)

    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:  # noqa: ARG002
        return webhooks.acknowledge(request, receipt)

    @hookimpl
    def sandbox(self) -> Sandbox:
        from .sandbox.simulate import simulate

        command = (sys.executable, "-m", "syncline_salesforce.sandbox")
        return Sandbox(command=command, settings=LEADS_TO_SANDBOX, simulate=simulate)
