"""The HubSpot connector: which hook is answered where."""

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
    Property,
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

from . import changes, listing, mapping, objects, owners, push, reading, signatures, webhooks
from .bulk import collect, submit
from .client import Client
from .properties import create

SETTINGS: Final = {
    "type": "object",
    "properties": {
        "api_version": {
            "type": "string",
            "title": "API version",
            "description": "v3 ends in September 2027. 2026-09 also applies the account's own rules to what is written.",
            "enum": ["v3", "2026-03", "2026-09"],
            "default": "2026-09",
        },
        "api_url": {"type": "string", "title": "API address", "format": "uri", "default": "https://api.hubapi.com"},
        "app_url": {"type": "string", "title": "Log-in address", "format": "uri", "default": "https://app.hubspot.com"},
        "own_key": {
            "type": "boolean",
            "title": "Use a unique property of our own",
            "description": "Makes writing safe to repeat. HubSpot allows ten unique properties per object; this takes one.",
            "default": True,
        },
    },
    "additionalProperties": False,
}
TOKEN: Final = {
    "type": "object",
    "properties": {"token": {"type": "string", "title": "Token", "minLength": 1, "writeOnly": True}},
    "required": ["token"],
    "additionalProperties": False,
}
_SAYS: Final = "X-HubSpot-RateLimit-"
# General: 100 in Free and Starter, 190 from Professional on, 250 with the add-on, 110 for apps of the marketplace; which of
# them holds is learnt. Answers to searches and associations tell of the day only. OAuth apps hear nothing of a day.
LIMITS: Final = (
    Limit(
        "general",
        "app_account",
        "every call but search and associations",
        10.0,
        190,
        headers={f"{_SAYS}Max": "{size}", f"{_SAYS}Remaining": "{remaining}"},
    ),
    Limit("search", "account", "search, over all apps of the account", 1.0, 5),
    Limit("associations", "app_account", "reading and writing associations", 10.0, 150),
    Limit("imports", "account", "files handed in for import (50 a day in Free)", 86_400.0, 500),
    Limit(
        "daily",
        "account",
        "every call, until midnight in the account's time zone",
        86_400.0,
        625_000,
        every_call=True,
        headers={f"{_SAYS}Daily": "{size}", f"{_SAYS}Daily-Remaining": "{remaining}"},
    ),
)
SCOPES: Final = (
    "oauth",
    *(
        f"crm.{what}.{key}.{right}"
        for what in ("objects", "schemas")
        for key in ("companies", "contacts", "deals")
        for right in ("read", "write")
    ),
    "crm.objects.owners.read",
    "crm.import",
)


class HubSpot(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo(
            key="hubspot",
            title="HubSpot",
            version=version("syncline-hubspot"),
            contract=">=1,<2",
            capabilities=frozenset(Capability) - {Capability.PARTITIONS},
            settings_schema=SETTINGS,
            hosts=("api.hubapi.com", "*.hubapi.com", "*.hubspot.com"),
            limits=LIMITS,
            docs_url="https://developers.hubspot.com/docs",
            answers_unread=True,
        )

    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        oauth = AuthMethod(
            key="oauth",
            title="Log in at HubSpot",
            kind="oauth2",
            authorize_url="{app_url}/oauth/authorize",
            token_url="{api_url}/oauth/{api_version}/token",  # noqa: S106 - an address
            revoke_url="{api_url}/oauth/{api_version}/token/revoke",
            scopes=SCOPES,
        )
        return [oauth, AuthMethod(key="token", title="Service key or private app token", kind="token", schema=TOKEN)]

    @hookimpl
    def check(self, session: Session) -> Account:
        found = Client(session).call("GET", "/account-info/v3/details")  # the library does not have this one
        portal = str(found["portalId"])
        names = ("accountType", "timeZone", "companyCurrency", "dataHostingLocation")
        return Account(
            id=portal,
            name=f"HubSpot account {portal}",
            url=f"https://{found.get('uiDomain') or 'app.hubspot.com'}/contacts/{portal}",
            details={name: found[name] for name in names if name in found},
        )

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return objects.discover(session)

    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        return mapping.suggest(dataset, object_type)

    @hookimpl
    def create_properties(self, session: Session, object_type: ObjectType, properties: Sequence[Property]) -> Sequence[str]:
        owners.refuse(object_type)
        return create(Client(session), object_type, properties)

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        owners.refuse(object_type)
        return push.push(Client(session), object_type, changes)

    @hookimpl
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        return submit(Client(session), object_type, job)

    @hookimpl
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        return collect(Client(session), object_type, token, keys)

    @hookimpl
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        if object_type.key == owners.KEY:
            return owners.fetch(Client(session), object_type, ids, properties)
        return reading.fetch(Client(session), object_type, ids, properties, associations, history)

    @hookimpl
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return reading.match(Client(session), object_type, step, values)

    @hookimpl
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        client = Client(session)
        if object_type.key == owners.KEY:
            return owners.pull(client, object_type, request)
        if request.archived:
            return listing.archived(client, object_type, request)
        if request.since:
            return changes.pull(client, object_type, request)
        return listing.listed(client, object_type, request, request.position)

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return signatures.verify(request, secrets)

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        return webhooks.parse(request)

    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:  # noqa: ARG002
        return webhooks.acknowledge(receipt)

    @hookimpl
    def sandbox(self) -> Sandbox:
        command = (sys.executable, "-m", "syncline_hubspot.sandbox")
        return Sandbox(command=command, settings={"api_url": "{url}", "app_url": "{url}"})
