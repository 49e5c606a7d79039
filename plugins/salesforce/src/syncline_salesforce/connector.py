"""The Salesforce connector: which hook is answered where."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Final

from syncline.contract import (
    Account,
    Answer,
    AuthError,
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

from . import bulk, mapping, objects, pull, push, reading, signatures, soql, webhooks
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
    },
    "required": ["instance_url"],
    "additionalProperties": False,
}
TOKEN: Final = {
    "type": "object",
    "properties": {"token": {"type": "string", "title": "Access token", "minLength": 1, "writeOnly": True}},
    "required": ["token"],
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
WHO: Final = soql.select(("Id", "Name", "OrganizationType", "InstanceName", "IsSandbox"), "Organization")


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
        )

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        oauth = AuthMethod(
            key="oauth",
            title="Log in at Salesforce",
            kind="oauth2",
            authorize_url="{instance_url}/services/oauth2/authorize",
            token_url="{instance_url}/services/oauth2/token",  # noqa: S106 - an address
            revoke_url="{instance_url}/services/oauth2/revoke",
            scopes=("api", "refresh_token"),
        )
        return [oauth, AuthMethod(key="token", title="Access token, while it lasts", kind="token", schema=TOKEN)]

    @hookimpl
    def check(self, session: Session) -> Account:
        found = Client(session).query(WHO)["records"]
        if not found:
            raise AuthError("Salesforce does not show the user of this connection its organization. Connect as another user.")
        names = ("OrganizationType", "InstanceName", "IsSandbox")
        details = {name: found[0][name] for name in names if name in found[0]}
        return Account(found[0]["Id"], found[0]["Name"], session.settings["instance_url"], details)

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
    ) -> Mapping[str, RemoteRecord]:
        return reading.fetch(Client(session), object_type, ids, properties)

    @hookimpl
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return reading.match(Client(session), object_type, step, values)

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
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
        return Sandbox(command=command, settings={"instance_url": "{url}"}, simulate=simulate)
