"""From entry points to working connectors and to reasons why others do not work."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pluggy import PluginValidationError

from syncline.contract import CONTRACT_VERSION, ConnectorInfo, ConnectorSpec, SynclineError

from .discovery import CONNECTORS, Discovery, distribution_of, version_of
from .facade import Connector

SLUG = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*\Z")


@dataclass(frozen=True, slots=True)
class Broken:
    """A connector that is installed and does not work."""

    key: str
    distribution: str
    version: str
    reason: str
    next_step: str


class _Refused(Exception):
    def __init__(self, reason: str, next_step: str) -> None:
        super().__init__(reason)
        self.reason, self.next_step = reason, next_step


def load(entries: Iterable[EntryPoint]) -> tuple[dict[str, Connector], list[Broken]]:
    """Loads each connector by itself; whatever is wrong with one becomes its Broken entry."""
    unique, broken = _without_duplicates(entries)
    found = Discovery(CONNECTORS, unique, lambda entry, error: broken.append(_import_failure(entry, error)))
    loaded: dict[str, Connector] = {}
    for extension in found.extensions:
        try:
            loaded[extension.name] = _connector(extension.entry_point, extension.plugin)
        except _Refused as refused:
            broken.append(_broken(extension.entry_point, refused.reason, refused.next_step))
    return loaded, sorted(broken, key=lambda entry: (entry.key, entry.distribution))


def _without_duplicates(entries: Iterable[EntryPoint]) -> tuple[list[EntryPoint], list[Broken]]:
    """None of several plugins with one key is used: which of them was meant is not ours to guess."""
    by_key: defaultdict[str, list[EntryPoint]] = defaultdict(list)
    for entry in entries:
        by_key[entry.name].append(entry)
    unique = [same[0] for same in by_key.values() if len(same) == 1]
    return unique, [broken for same in by_key.values() if len(same) > 1 for broken in _duplicates(same)]


def _duplicates(same: list[EntryPoint]) -> Iterator[Broken]:
    owners = ", ".join(sorted(distribution_of(entry) or entry.value for entry in same))
    for entry in same:
        reason = f"The key {entry.name} is offered {len(same)} times: by {owners}."
        yield _broken(entry, reason, "Uninstall all but one of them and restart.")


def _import_failure(entry: EntryPoint, error: BaseException) -> Broken:
    reason = f"{entry.value} could not be imported: {type(error).__name__}: {error}"
    return _broken(entry, reason, "Reinstall the package with its requirements, or uninstall it, and restart.")


def _broken(entry: EntryPoint, reason: str, next_step: str) -> Broken:
    return Broken(entry.name, distribution_of(entry), version_of(entry), reason, next_step)


def _connector(entry: EntryPoint, plugin_class: object) -> Connector:
    tell_author = "Report it to the connector's author."
    if not (isinstance(plugin_class, type) and issubclass(plugin_class, ConnectorSpec)):
        raise _Refused(f"{entry.value} is not a subclass of syncline.contract.ConnectorSpec.", tell_author)
    try:
        connector = Connector(entry.name, plugin_class(), distribution=distribution_of(entry), version=version_of(entry))
        _check_info(entry.name, connector.info)
    except PluginValidationError as error:
        raise _Refused(f"Its hooks do not fit the contract: {error}", tell_author) from error
    except SynclineError as error:
        raise _Refused(str(error), tell_author) from error
    except (Exception, SystemExit) as error:
        if isinstance(error, _Refused):
            raise
        raise _Refused(f"{entry.value} could not be made: {type(error).__name__}: {error}", tell_author) from error
    return connector


def _check_info(name: str, info: ConnectorInfo) -> None:
    if not isinstance(info, ConnectorInfo):
        raise _Refused(f"describe() gave {type(info).__name__}.", "The author must return a ConnectorInfo.")
    if not SLUG.match(name):
        raise _Refused(f"The key {name!r} is not a slug.", "The author must use small letters, digits, - and _ only.")
    if info.key != name:
        raise _Refused(
            f"describe() says its key is {info.key!r}, but its entry point is {name!r}.",
            "The author must give both the same name.",
        )
    _check_contract(info.contract)


def _check_contract(wanted: str) -> None:
    try:
        fits = CONTRACT_VERSION in SpecifierSet(wanted)
    except InvalidSpecifier as error:
        raise _Refused(
            f"Its contract range {wanted!r} is not a version specifier.", "The author must write one such as >=1,<2."
        ) from error
    if not fits:
        raise _Refused(
            f"It needs the contract {wanted}; this host has {CONTRACT_VERSION}.",
            "Install a version of the connector made for this host, or upgrade the host.",
        )
