"""What a connector says about itself, without any call."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

import jsonschema
import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from syncline.contract import CONTRACT_VERSION, AuthMethod, Capability

from ..check import check, expect
from ..lab import Lab

SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
SECRET = re.compile(r"secret|token|password|private_key|api_key|service_key", re.IGNORECASE)
AUTH_KINDS = frozenset({"oauth2", "token", "basic", "key_pair", "none"})
#: OAuth grant → what must be typed for it.
GRANTS = {
    "authorization_code": frozenset[str](),
    "client_credentials": frozenset[str](),
    "jwt_bearer": frozenset({"username", "private_key", "audience"}),
}
TEMPLATE = re.compile(r"\{(\w+)\}")
GROUP = "syncline.connectors"


@check("key")
def key(lab: Lab) -> None:
    """The key is a slug and equals the name of the entry point that loads the connector."""
    named = lab.info.key
    expect(SLUG.fullmatch(named), f"The key {named!r} is not a slug: lower-case letters and digits, joined by hyphens.")
    names = {point.name for point in entry_points(group=GROUP) if _loads(point, lab)}
    expect(
        names, f"No entry point of the group {GROUP} loads {type(lab.connector).__qualname__}: declare it, install the package."
    )
    expect(named in names, f"The key {named!r} differs from the entry point's name {sorted(names)}.")


def _loads(point: Any, lab: Lab) -> bool:
    """Other packages' entry points are not imported: those of the class and its bases are enough to compare with."""
    return point.value in {f"{base.__module__}:{base.__qualname__}" for base in type(lab.connector).__mro__}


@check("hook-names")
def hook_names(lab: Lab) -> None:
    """Every method marked with `@hookimpl` is a hook of the contract."""
    try:
        lab.hooks.manager.check_pending()
    except pluggy.PluginValidationError as error:
        expect(False, f"{error}. Is a name misspelt?")


@check("capabilities")
def capabilities(lab: Lab) -> None:
    """The declared capabilities are the implemented hooks."""
    declared = {str(capability) for capability in lab.info.capabilities}
    implemented = lab.hooks.implemented & {str(capability) for capability in Capability}
    expect(declared <= implemented, f"Declared but not implemented: {sorted(declared - implemented)}.")
    expect(implemented <= declared, f"Implemented but not declared: {sorted(implemented - declared)}.")


@check("contract-version")
def contract_version(lab: Lab) -> None:
    """The version is a version, and the contract range is a specifier that admits the contract in use."""
    try:
        Version(lab.info.version)
        wanted = SpecifierSet(lab.info.contract)
    except (InvalidVersion, InvalidSpecifier) as error:
        expect(False, f"{error}. Write the version like `1.0` and the contract range like `>=1,<2`.")
    else:
        expect(str(wanted), "The contract range is empty. Say which versions the connector was made for: `>=1,<2`.")
        expect(wanted.contains(CONTRACT_VERSION), f"The contract is {CONTRACT_VERSION}, the connector wants {wanted}.")


@check("settings-schema")
def settings_schema(lab: Lab) -> None:
    """The settings are a JSON Schema of an object that survives JSON, whose defaults are valid, with secrets write-only."""
    schema = lab.info.settings_schema
    _valid_object(schema, "settings_schema")
    fields: Mapping[str, Any] = schema.get("properties", {})
    for name, field in fields.items():
        if "default" in field:
            problems = [error.message for error in jsonschema.Draft202012Validator(field).iter_errors(field["default"])]
            expect(not problems, f"The default of the setting `{name}` is not valid: {'; '.join(problems)}")
    _secrets_hidden(fields, "setting")


@check("auth-methods")
def auth_methods(lab: Lab) -> None:
    """Ways to connect have unique keys and known kinds, OAuth goes over https, and secrets people type are write-only."""
    methods = lab.call.auth_methods()
    expect(methods, "`auth_methods` is empty: not even `none` is offered.")
    keys = [method.key for method in methods]
    expect(len(set(keys)) == len(keys), f"Two methods share a key: {keys}.")
    settings = set(lab.info.settings_schema.get("properties", {}))
    for method in methods:
        _well_formed(method, settings)


def _well_formed(method: AuthMethod, settings: set[str]) -> None:
    expect(method.kind in AUTH_KINDS, f"The kind {method.kind!r} of `{method.key}` is unknown. Known: {sorted(AUTH_KINDS)}.")
    if method.kind == "oauth2":
        expect(method.grant in GRANTS, f"The grant {method.grant!r} of `{method.key}` is unknown. Known: {sorted(GRANTS)}.")
        page = method.authorize_url or method.grant != "authorization_code"
        expect(page and method.token_url, f"`{method.key}` lacks its authorize_url or token_url.")
        typed = set(method.schema.get("properties", {}))
        expect(GRANTS[method.grant] <= typed, f"`{method.key}` asks for no {sorted(GRANTS[method.grant] - typed)} in its schema.")
        unknown = sorted(set(method.agrees.values()) - settings)
        expect(not unknown, f"The answers of `{method.key}` are to agree with settings that do not exist: {unknown}.")
        for url in filter(None, (method.authorize_url, method.token_url, method.revoke_url)):
            _safe(url, method.key, settings)
    if method.kind in {"token", "basic", "key_pair"} or method.grant == "jwt_bearer":
        _valid_object(method.schema, f"schema of `{method.key}`")
        fields: Mapping[str, Any] = method.schema.get("properties", {})
        expect(any(field.get("writeOnly") for field in fields.values()), f"`{method.key}` has no field with `writeOnly`.")
        _secrets_hidden(fields, f"field of `{method.key}`")


def _safe(url: str, method: str, settings: set[str]) -> None:
    unknown = sorted(set(TEMPLATE.findall(url)) - settings)
    expect(not unknown, f"The address {url} of `{method}` names settings that do not exist: {unknown}.")
    expect(url.startswith(("https://", "{")), f"The address {url} of `{method}` is not https.")


def _valid_object(schema: Mapping[str, Any], what: str) -> None:
    expect(isinstance(schema, dict), f"{what} is not a dict.")
    copy = json.loads(json.dumps(schema, default=repr))
    expect(copy == schema, f"{what} does not survive JSON unchanged: use dicts, lists, strings, numbers and booleans only.")
    try:
        jsonschema.Draft202012Validator.check_schema(copy)
    except jsonschema.SchemaError as error:
        expect(False, f"{what} is not a JSON Schema: {error.message}.")
    expect(copy.get("type", "object") == "object", f"{what} describes a {copy.get('type')}, not an object.")


def _secrets_hidden(fields: Mapping[str, Mapping[str, Any]], what: str) -> None:
    shown = _secret_names(fields)
    expect(not shown, f"These look like secrets but lack `writeOnly`: {what} {', '.join(shown)}.")


def _secret_names(fields: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def text(field: Mapping[str, Any]) -> bool:
        return field.get("type") == "string" and "enum" not in field and field.get("format") not in {"uri", "url"}

    def visible(items: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
        return [n for n, f in items if SECRET.search(n) and not n.endswith("_url") and text(f) and not f.get("writeOnly")]

    return visible(fields.items())
