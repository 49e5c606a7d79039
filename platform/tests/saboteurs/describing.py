"""Saboteurs that say wrong things about themselves."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from syncline.contract import (
    AuthMethod,
    Capability,
    ConnectorInfo,
    ObjectType,
    Property,
    Sandbox,
    Session,
    hookimpl,
)
from syncline_notes.connector import SETTINGS, Notes

from .breaks import breaks


class Describing(Notes):
    """Changes parts of the description."""

    changed: Mapping[str, Any] = {}

    @hookimpl
    def describe(self) -> ConnectorInfo:
        return replace(super().describe(), **self.changed)


def with_setting(**fields: dict[str, Any]) -> dict[str, Any]:
    known: Any = SETTINGS["properties"]
    return {**SETTINGS, "properties": {**known, **fields}}


@breaks("key")
class ShoutsItsKey(Describing):
    changed = {"key": "Notes"}


@breaks("key")
class UsesAnothersKey(Describing):
    changed = {"key": "memos"}


@breaks("hook-names")
class Misspells(Notes):
    @hookimpl
    def discoverr(self, session: Session) -> Sequence[ObjectType]:
        return self.discover(session)


@breaks("capabilities")
class HidesMatch(Describing):
    changed = {"capabilities": frozenset(Capability) - {Capability.MATCH}}


@breaks("capabilities")
class ClaimsMatch(Notes):
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return super().match(session, object_type, step, values)  # not marked as a hook


@breaks("contract-version")
class NeedsAnotherContract(Describing):
    changed = {"contract": ">=2"}


@breaks("contract-version")
class HasNoVersion(Describing):
    changed = {"version": "latest"}


@breaks("settings-schema")
class DefaultsToNonsense(Describing):
    changed = {"settings_schema": with_setting(region={"type": "string", "default": 7})}


@breaks("settings-schema")
class ShowsASecretSetting(Describing):
    changed = {"settings_schema": with_setting(signing_secret={"type": "string"})}


@breaks("settings-schema")
class SettingsAreNoSchema(Describing):
    changed = {"settings_schema": with_setting(region={"type": "text"})}


@breaks("auth-methods")
class AuthorizesInClear(Notes):
    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        clear = "http://notes.example/oauth"
        return [*super().auth_methods(), AuthMethod("oauth", "OAuth", "oauth2", authorize_url=clear, token_url=clear)]


@breaks("auth-methods")
class ShowsTheToken(Notes):
    @hookimpl
    def auth_methods(self) -> Sequence[AuthMethod]:
        schema = {"type": "object", "properties": {"token": {"type": "string"}}}
        return [AuthMethod("token", "Access token", "token", schema)]


@breaks("discovery")
class NamesAPropertyTwice(Notes):
    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        return [replace(o, properties=(*o.properties, Property("mood", "Mood again"))) for o in super().discover(session)]


@breaks("discovery")
class NeverDiscoversTheSame(Notes):
    calls = 0

    @hookimpl
    def discover(self, session: Session) -> Sequence[ObjectType]:
        self.calls += 1
        return [replace(o, title=f"Notes, {self.calls}") for o in super().discover(session)]


@breaks("create-properties")
class SaysItCreatedThemAgain(Notes):
    @hookimpl
    def create_properties(self, session: Session, object_type: ObjectType, properties: Sequence[Property]) -> Sequence[str]:
        super().create_properties(session, object_type, properties)
        return [p.name for p in properties]


@breaks("create-properties")
class CreatesNothing(Notes):
    """The own key must be there, or upserts would fail as well."""

    @hookimpl
    def create_properties(self, session: Session, object_type: ObjectType, properties: Sequence[Property]) -> Sequence[str]:
        super().create_properties(session, object_type, [p for p in properties if p.unique])
        return [p.name for p in properties]


@breaks("sandbox")
class SandboxSaysNothing(Notes):
    @hookimpl
    def sandbox(self) -> Sandbox:
        return Sandbox((sys.executable, "-S", "-c", "print('ready')"), {"base_url": "{url}"})


@breaks("sandbox")
class SandboxDoesNotListen(Notes):
    @hookimpl
    def sandbox(self) -> Sandbox:
        line = '{"url": "http://127.0.0.1:9"}'
        return Sandbox((sys.executable, "-S", "-c", f"print('{line}')"), {"base_url": "{url}"})
