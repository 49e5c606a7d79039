"""One loaded connector behind a typed, strict front."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any, cast

import pluggy

from syncline.contract import ConnectorFault, ConnectorInfo, ConnectorSpec, SynclineError, UnsupportedFeature
from syncline.contract.hookspecs import PROJECT


class Connector:
    """One plugin, alone in its own pluggy manager: a call can reach nobody else.

    `call`: the hooks, with the types of the contract; keyword arguments only. A hook that the plugin lacks raises
    UnsupportedFeature. Whatever the plugin raises outside the contract's errors becomes a ConnectorFault, also while
    pages are iterated.
    """

    def __init__(self, key: str, plugin: object, *, distribution: str = "", version: str = "") -> None:
        self.key = key
        self.distribution = distribution
        self.version = version
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(ConnectorSpec)
        manager.register(plugin, key)  # an unknown argument of a hook raises here
        manager.check_pending()  # a misspelt hook raises here
        self.implements = frozenset(caller.name for caller in manager.get_hookcallers(plugin) or ())
        self.call = cast(ConnectorSpec, _Directed(key, self.implements, manager.hook))
        self.info: ConnectorInfo = self.call.describe()

    @property
    def title(self) -> str:
        return self.info.title

    def __repr__(self) -> str:
        return f"<Connector {self.key} {self.version}>"


class _Directed:
    """Refuses what the plugin lacks, and a forgotten return, instead of pluggy's silent None."""

    def __init__(self, key: str, implements: frozenset[str], relay: pluggy.HookRelay) -> None:
        self._key, self._implements, self._relay = key, implements, relay

    def __getattr__(self, hook: str) -> Callable[..., Any]:
        if hook not in self._implements:
            raise UnsupportedFeature(f"The connector {self._key} does not offer {hook}.")
        caller: pluggy.HookCaller = getattr(self._relay, hook)
        where = f"{self._key}.{hook}"

        def call(**arguments: object) -> Any:
            answer = _translated(where, lambda: caller(**arguments))
            if answer is None:
                raise ConnectorFault(f"{where} returned nothing. Report it to the connector's author.")
            return _guarded(where, answer) if isinstance(answer, Iterator) else answer

        setattr(self, hook, call)  # the next call finds it without coming here
        return call


def _translated(where: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except (SynclineError, pluggy.HookCallError, StopIteration):
        raise
    except (Exception, SystemExit) as error:
        raise ConnectorFault(f"{where} failed with {_cause(error)}. Report it to the connector's author.") from error


def _cause(error: BaseException) -> str:
    """Kind and place only: the text of a foreign error may hold credentials or personal data."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"


def _guarded(where: str, answers: Iterator[Any]) -> Iterator[Any]:
    """pluggy's wrappers end before the first item, so errors are caught around each step, and the source is closed."""
    try:
        while True:
            try:
                item = _translated(where, lambda: next(answers))
            except StopIteration:
                return
            yield item
    finally:
        close = getattr(answers, "close", None)
        if close is not None:
            close()
