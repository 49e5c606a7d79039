"""The admin API under /_sandbox: what tests and the demo do behind the connector's back. No token, loopback only."""

from __future__ import annotations

import time
from typing import Any

import orjson

from .clock import iso
from .counters import Counters
from .portal import DEFAULT_PORTAL, Portal
from .properties import changed
from .records import Record, Table
from .refusals import Refusal
from .wire import ApiError, Call, Json, Reply
from .writes import Writer


def portal_of(call: Call) -> Portal:
    return call.server.portal(int(call.query.get("portal", DEFAULT_PORTAL)))


def table_of(call: Call) -> tuple[Portal, Table]:
    portal = portal_of(call)
    return portal, portal.table(call.args["type"])


def refused(message: str, status: int = 400) -> ApiError:
    return ApiError(Reply(status, {"message": message}))


def record_of(table: Table, key: str) -> Record:
    record = table.resolve(key)
    if record is None:
        raise refused(f"No {table.kind.singular} {key} in the sandbox.", 404)
    return record


def list_or_object(call: Call) -> list[Json]:
    """Faults and seeds come one by one or as a list."""
    parsed = orjson.loads(call.raw or b"{}")
    return parsed if isinstance(parsed, list) else [parsed]


# state of the sandbox


def counters(call: Call) -> Reply:
    return Reply(200, call.server.counters.as_dict())


def reset_counters(call: Call) -> Reply:
    call.server.counters = Counters()
    return counters(call)


def read_clock(call: Call) -> Reply:
    now = call.server.clock.now()
    return Reply(200, {"now": now, "iso": iso(now), "cpu_s": time.process_time()})


def advance_clock(call: Call) -> Reply:
    try:
        call.server.clock.advance(float(call.body().get("advance", 0)))
    except ValueError as error:
        raise refused(str(error)) from error
    return read_clock(call)


def read_config(call: Call) -> Reply:
    return Reply(200, call.server.config.as_dict())


def change_config(call: Call) -> Reply:
    try:
        call.server.config.change(call.body())
    except (ValueError, TypeError) as error:
        raise refused(str(error)) from error
    return read_config(call)


def list_faults(call: Call) -> Reply:
    return Reply(200, call.server.faults.as_list())


def arm_faults(call: Call) -> Reply:
    try:
        call.server.faults.arm(list_or_object(call))
    except (ValueError, TypeError) as error:
        raise refused(str(error)) from error
    return list_faults(call)


def clear_faults(call: Call) -> Reply:
    call.server.faults.rules.clear()
    return Reply(204)


def reset(call: Call) -> Reply:
    call.server.reset()
    return Reply(204)


def issue_token(call: Call) -> Reply:
    """A private token with chosen scopes, of any account."""
    body = call.body()
    portal = call.server.portal(int(body.get("portal", DEFAULT_PORTAL)))
    scopes = body.get("scopes")
    tokens = call.server.tokens
    grant = tokens.issue_private(portal.id, tuple(scopes)) if scopes is not None else tokens.issue_private(portal.id)
    return Reply(201, {"token": grant.token, "portal": portal.id, "scopes": sorted(grant.scopes)})


def revoke_tokens(call: Call) -> Reply:
    """One token with `{"token": …}`, else every token of the account, as if the app had been uninstalled."""
    body = call.body() if call.raw else {}
    if "token" in body:
        return Reply(200, {"revoked": int(call.server.tokens.revoke(body["token"]))})
    return Reply(200, {"revoked": call.server.tokens.revoke_portal(int(body.get("portal", DEFAULT_PORTAL)))})


# records


def seed(call: Call) -> Reply:
    """Records by the bulk, `[{property: value}, …]`: read-only properties may be given too; indexed, and told to nobody."""
    portal, table = table_of(call)
    writer = Writer(portal, table, source="")
    ids = [_seeded(writer, given.get("properties", given)) for given in list_or_object(call)]
    return Reply(201, {"ids": ids})


def _seeded(writer: Writer, given: Json) -> str:
    table = writer.table
    known = {name: value for name, value in given.items() if value not in (None, "")}
    writable = {name: value for name, value in known.items() if table.checks.get(name, True) is not None}
    try:
        record, _ = writer.commit(writer.plan_create(writable))
    except Refusal as refusal:
        raise refused(f"{given}: {refusal.text(writer.portal.id)}") from refusal
    record.values.update({name: str(value) for name, value in known.items() if name not in writable})
    record.touch_at, record.pending = 0.0, ()
    table.index(record, writer.now, 0.0)
    table.claim(record.id, record.values)
    return record.id


def fail_import(call: Call) -> Reply:
    """Ends an import as failed, where it stands."""
    portal = portal_of(call)
    one = portal.imports.known[call.args["id"]]
    one.state, one.updated = "FAILED", portal.clock.now()
    return Reply(200, {"id": one.id})


def dump(call: Call) -> Reply:
    """Every record, archived and merged ones too. `?property=&value=` filters; `?archived=false` leaves out the dead."""
    portal, table = table_of(call)
    name, value = call.query.get("property"), call.query.get("value")
    ids = set(call.listed("ids"))
    only_live = call.query.get("archived") == "false"
    now, lag = portal.clock.now(), portal.config.index_lag_s
    shown = []
    for record in table.records.values():
        table.settle(record, now, lag)
        if (ids and record.id not in ids) or (only_live and record.archived_at):
            continue
        if name is None or record.values.get(name) == value:
            shown.append(dumped(portal, table, record))
    return Reply(200, {"results": shown})


def dumped(portal: Portal, table: Table, record: Record) -> Json:
    associations: dict[str, list[str]] = {}
    for pair, to_id, _ in portal.links.around(table.kind.type_id, record.id):
        associations.setdefault(portal.table(pair[1]).kind.name, []).append(to_id)
    return {
        "id": record.id,
        "properties": record.values,
        "createdAt": record.created,
        "updatedAt": record.updated,
        "archived": record.archived_at is not None,
        "merged_into": table.merged_into.get(record.id),
        "associations": associations,
    }


# properties


def delete_property(call: Call) -> Reply:
    _, table = table_of(call)
    if call.args["name"] not in table.definitions:
        raise refused(f"{table.kind.name} has no property {call.args['name']}.", 404)
    table.undefine(call.args["name"])
    return Reply(204)


def patch_property(call: Call) -> Reply:
    """Changes a definition, built-in ones too; `{"remove_options": […]}` takes options away."""
    _, table = table_of(call)
    held = table.definitions.get(call.args["name"])
    if held is None:
        raise refused(f"{table.kind.name} has no property {call.args['name']}.", 404)
    given: dict[str, Any] = call.body()
    if "remove_options" in given:
        gone = set(given.pop("remove_options"))
        given["options"] = [each for each in held["options"] if each["value"] not in gone]
    return Reply(200, changed(call, table, held, given))
