"""The bench on which a connector is tried: its hooks, a server, the fault proxy between them, and samples."""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import pluggy

from syncline.contract import (
    Capability,
    Change,
    Code,
    ConnectorInfo,
    ConnectorSpec,
    HeaderAuth,
    Http,
    ObjectType,
    Op,
    Permanent,
    PushResult,
    RecordError,
    RecordRejected,
    RemoteRecord,
    Session,
    Status,
    Value,
)
from syncline.contract.hookspecs import PROJECT

from .check import Breach
from .proxy import FaultProxy
from .target import Server, Target

SHORT = 0.25
LONG = 15.0


class Hooks:
    """The connector alone in a pluggy manager, called as the host calls it: by keyword, nothing is no answer."""

    def __init__(self, connector: ConnectorSpec) -> None:
        self.manager = pluggy.PluginManager(PROJECT)
        self.manager.add_hookspecs(ConnectorSpec)
        self.manager.register(connector)
        self.implemented = frozenset(caller.name for caller in self.manager.get_hookcallers(connector) or ())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        caller = getattr(self.manager.hook, name)

        def call(**arguments: object) -> Any:
            answer = caller(**arguments)
            if answer is None:
                raise Breach(f"The hook `{name}` gave nothing. Implement it, and return a value in every case.")
            return answer

        return call


class Pauses:
    """A budget without limit that remembers what it was told to wait, and which limits were named."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.named: set[str] = set()

    def acquire(self, limit: str) -> None:
        self.named.add(limit)

    def pause(self, limit: str, seconds: float) -> None:
        self.named.add(limit)
        self.longest = max(self.longest, seconds)

    def observe(self, limit: str, headers: Mapping[str, str]) -> None:
        """There is nothing to learn."""


class Lab:
    """One connector on one running server. The connector holds `canary` where its credentials would be."""

    def __init__(self, connector: ConnectorSpec, target: Target, server: Server) -> None:
        self.connector, self.target, self.server = connector, target, server
        self.hung = ""  # name of a check that did not end
        self.canary = f"canary{secrets.token_hex(12)}"
        self.hooks = Hooks(connector)
        self.call = cast(ConnectorSpec, self.hooks)
        self.budget = Pauses()
        self.log = logging.getLogger("syncline.conformance")
        swap = {(name.lower(), self._masked(value)): value for name, value in server.headers.items()}
        self.proxy = FaultProxy(server.url, swap, target.reads)
        self._numbers = itertools.count(1)
        self._sessions: dict[tuple[float, float, str], Session] = {}

    @cached_property
    def info(self) -> ConnectorInfo:
        return self.call.describe()

    @property
    def able(self) -> frozenset[Capability]:
        """Capabilities that are both declared and implemented; a difference is a check of its own."""
        return frozenset(c for c in self.info.capabilities if str(c) in self.hooks.implemented)

    def session(self, *, timeout: float = LONG, patience: float = 0.0, url: str = "") -> Session:
        """A session through the proxy, or to `url`. It waits for nothing: pauses are told to the budget only."""
        options = (timeout, patience, url or self.proxy.url)
        if options not in self._sessions:
            self._sessions[options] = self._session(*options)
        return self._sessions[options]

    def _session(self, timeout: float, patience: float, url: str) -> Session:
        auth = HeaderAuth({name: self._masked(value) for name, value in self.server.headers.items()})
        http = Http(
            hosts=("127.0.0.1", *self.info.hosts),
            auth=auth,
            budget=self.budget,
            log=self.log,
            timeout=(LONG, timeout),
            patience=patience,
            sleep=self._no_sleep,
        )
        held = self.server.credentials
        return Session(self._settings(url), http, "conformance", self.log, credentials=lambda: held)

    @cached_property
    def object_type(self) -> ObjectType:
        """The target's object as discovered, after the properties it needs were created."""
        found = self.discovered()
        wanted = (*self.target.create, *([found.key_property] if found.key_property and not found.unique_key else []))
        missing = [p for p in wanted if found.property(p.name) is None]
        if not missing or Capability.CREATE_PROPERTIES not in self.able:
            return found
        self.call.create_properties(session=self.session(), object_type=found, properties=missing)
        return self.discovered()

    def discovered(self) -> ObjectType:
        offered = {o.key: o for o in self.call.discover(session=self.session())}
        if self.target.object_type not in offered:
            raise Breach(f"The target's object `{self.target.object_type}` is not among those discovered: {sorted(offered)}.")
        return offered[self.target.object_type]

    def changes(self, count: int, op: Op = Op.CREATE) -> list[Change]:
        """So many good records, each unlike any other of this lab; what the object needs is created before."""
        self.object_type  # noqa: B018 - here, so that no fault meant for the records strikes it
        return [self._change(op, dict(self.target.record(next(self._numbers)))) for _ in range(count)]

    def telling(self) -> str:
        """A text property in which the target's records differ."""
        one, other = self.target.record(0), self.target.record(1)
        names = [name for name, value in one.items() if isinstance(value, str) and value != other.get(name)]
        if not names:
            raise Breach("`record` of the target gives records that differ in no text property: no two may be alike.")
        return names[0]

    def push(self, changes: Sequence[Change], session: Session | None = None) -> list[PushResult]:
        return list(self.call.push(session=session or self.session(), object_type=self.object_type, changes=changes))

    def created(self, count: int = 1) -> list[str]:
        """Writes so many records and gives their ids; in calls of one, where a check is not about batches."""
        return [self.written(change) for change in self.changes(count)]

    def filled(self, count: int) -> list[str]:
        """Writes so many records in batches and gives their ids, for lists of several pages."""
        return self._filled(self.object_type, self.changes(count))

    def partners(self, count: int) -> tuple[str, list[str]]:
        """So many new records that others can be associated with: their object and their ids."""
        if not self.target.partner:
            return self.object_type.key, self.filled(count)
        key, record = self.target.partner
        offered = {o.key: o for o in self.call.discover(session=self.session())}
        changes = [self._change(Op.CREATE, record(next(self._numbers))) for _ in range(count)]
        return key, self._filled(offered[key], changes)

    def _filled(self, object_type: ObjectType, changes: Sequence[Change]) -> list[str]:
        size, ids = min(object_type.batch_sizes.get(Op.CREATE, 1), object_type.page_size), []
        for start in range(0, len(changes), size):
            batch = changes[start : start + size]
            results = self.call.push(session=self.session(), object_type=object_type, changes=batch)
            refused = [r for r in results if r.status is not Status.CREATED]
            if refused:
                raise Breach(f"Good records could not be written to fill several pages: {refused[:2]} …")
            ids += [r.remote_id for r in results if r.remote_id]
        return ids

    def renewed(self, ids: Sequence[str]) -> None:
        """Changes the telling property of these records, in batches."""
        size, name = self.object_type.batch_sizes.get(Op.UPDATE, 1), self.telling()
        for start in range(0, len(ids), size):
            batch = ids[start : start + size]
            values = [{name: change.properties[name]} for change in self.changes(len(batch))]
            self.push([Change(one, Op.UPDATE, one, properties=v) for one, v in zip(batch, values, strict=True)])

    def removed(self, ids: Sequence[str], op: Op) -> list[PushResult]:
        """What became of the records with these ids, in the order of the ids."""
        size, verdicts = self.object_type.batch_sizes.get(op, 1), dict[str, PushResult]()
        for start in range(0, len(ids), size):
            verdicts |= self.verdicts([Change(one, op, one) for one in ids[start : start + size]])
        return [verdicts[one] for one in ids]

    def written(self, change: Change) -> str:
        """Writes one record and gives its id."""
        results = self.push([change])
        if len(results) != 1 or results[0].status not in {Status.CREATED, Status.UPDATED} or not results[0].remote_id:
            raise Breach(f"A good record could not be written: {results}. Is `record` of the target what the vendor accepts?")
        return results[0].remote_id

    def verdicts(self, changes: Sequence[Change]) -> dict[str, PushResult]:
        """As the host does it: a batch refused as a whole is split until each record has its verdict."""
        try:
            return {result.local_key: result for result in self.push(changes)}
        except (Permanent, RecordRejected) as refused:
            if len(changes) == 1:
                key, error = changes[0].local_key, RecordError(Code.OTHER, str(refused))
                return {key: PushResult(key, Status.REJECTED, error=error)}
        half = len(changes) // 2
        return {**self.verdicts(changes[:half]), **self.verdicts(changes[half:])}

    def read(self, remote_id: str, names: Sequence[str]) -> Mapping[str, Value]:
        found = self.fetch([remote_id], names)
        if remote_id not in found:
            raise Breach(f"`fetch` did not find the record {remote_id} that was just written.")
        return found[remote_id].properties

    def elsewhere(self) -> tuple[ConnectorSpec, Session]:
        """The connector as another process has it: it remembers nothing of this one."""
        return cast(ConnectorSpec, Hooks(type(self.connector)())), self._session(LONG, 0.0, self.proxy.url)

    def fetch(
        self, ids: Sequence[str], names: Sequence[str] = (), associations: Sequence[str] = (), history: Sequence[str] = ()
    ) -> dict[str, RemoteRecord]:
        found = self.call.fetch(
            session=self.session(),
            object_type=self.object_type,
            ids=ids,
            properties=names,
            associations=associations,
            history=history,
        )
        return dict(found)

    def settle(self) -> None:
        """Waits until what was written can be listed."""
        self.server.settle(self.object_type.visibility_lag)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Lab]:
        """The same connector on a server of its own that nobody has changed yet."""
        with opened(self.connector, self.target) as lab:
            yield lab

    def _change(self, op: Op, values: Mapping[str, Value]) -> Change:
        key = uuid.uuid4().hex
        return Change(key, op, unique_key=f"conformance:notes:{key}" if op is Op.UPSERT else None, properties=values)

    def _settings(self, url: str) -> dict[str, Any]:
        fields: Mapping[str, Any] = self.info.settings_schema.get("properties", {})
        given: dict[str, Any] = {name: self.canary for name, field in fields.items() if field.get("writeOnly")}
        given |= {name: field["default"] for name, field in fields.items() if "default" in field}
        own = {name: v.replace("{url}", url) if isinstance(v, str) else v for name, v in self.server.settings.items()}
        return {**given, **own}

    def _masked(self, value: str) -> str:
        scheme, space, _ = value.rpartition(" ")
        return f"{scheme}{space}{self.canary}"

    def _no_sleep(self, seconds: float) -> None:
        self.budget.pause("", seconds)


@contextlib.contextmanager
def opened(connector: ConnectorSpec, target: Target) -> Iterator[Lab]:
    """Starts the target's server and the proxy before it; ends both."""
    with target.server(connector) as server:
        lab = Lab(connector, target, server)
        try:
            yield lab
        finally:
            lab.proxy.close()


def over(change: Change, values: Mapping[str, Value]) -> Change:
    """The change with some values replaced."""
    return replace(change, properties={**change.properties, **values})
