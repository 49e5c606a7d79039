"""The batch endpoints: at most 100 inputs, whole or not at all unless every input bears its own trace id."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .clock import iso
from .objects import View, archive, associate_new, not_unique, properties_of, shape
from .records import Record, Table
from .refusals import Refusal, refused
from .wire import Call, Json, Reply, invalid, invalid_json
from .writes import Plan, Writer

MOST = 100
MOST_WITH_HISTORY = 50


@dataclass(slots=True)
class Outcome:
    """What became of the inputs of one call."""

    plans: list[tuple[Json, Plan]] = field(default_factory=list)
    refusals: list[tuple[Json, Refusal]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def inputs_of(call: Call, most: int = MOST) -> list[Json]:
    inputs = call.body().get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise invalid_json("`inputs` must be an array of objects")
    if not inputs:
        raise invalid("Batch input is empty. It must contain at least one input")
    if len(inputs) > most:
        raise invalid(f"The maximum number of inputs supported in a batch request is {most}, found {len(inputs)}")
    return inputs


def traced(inputs: list[Json]) -> bool:
    traces = [each.get("objectWriteTraceId") for each in inputs]
    return None not in traces and len(set(traces)) == len(traces)


def no_duplicates(keys: Iterable[tuple[str, str]]) -> None:
    seen: set[tuple[str, str]] = set()
    twice: list[str] = []
    for prop, value in keys:
        key = (prop, value.casefold())
        if key in seen:
            twice.append(value)
        seen.add(key)
    if twice:
        raise invalid(f"Duplicate IDs found in batch input: [{', '.join(twice)}]. IDs must be unique", context={"ids": twice})


def text_id(given: Json) -> str:
    """Ids are strings, and JSON numbers are taken for them."""
    value = given.get("id")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise invalid_json("every input needs an `id`")
    return str(value)


def answer(call: Call, status: int, results: list[Any], errors: list[Json], started: float) -> Reply:
    """`status` says COMPLETE even when some inputs failed; the code 207 and `errors` tell."""
    body: Json = {
        "completedAt": iso(call.portal.clock.now()),
        "status": "COMPLETE",
        "startedAt": iso(started),
        "results": results,
    }
    if errors:
        body |= {"numErrors": len(errors), "errors": errors}
    return Reply(207 if errors else status, body)


def plan_all(call: Call, inputs: list[Json], plan: Callable[[Json], Plan | None]) -> Outcome:
    """Plans every input; without trace ids a refused one refuses the call."""
    outcome = Outcome()
    for given in inputs:
        try:
            planned = plan(given)
            if planned is None:
                outcome.missing.append(str(given["id"]))
            else:
                outcome.plans.append((given, planned))
        except Refusal as refusal:
            outcome.refusals.append((given, refusal))
    if outcome.refusals and not traced(inputs):
        raise refused(call.portal, [refusal for _, refusal in outcome.refusals])
    return outcome


def carry_out(writer: Writer, outcome: Outcome, *, upsert: bool) -> list[Json]:
    results = []
    for given, plan in outcome.plans:
        new = plan.record is None
        record, values = writer.commit(plan)
        shown = shape(writer.portal, writer.table, record, values)
        trace = given.get("objectWriteTraceId")
        if trace is not None:
            shown["objectWriteTraceId"] = trace
        if upsert:
            shown["new"] = new
        if new and given.get("associations"):
            associate_new(writer.portal, writer.table, record, given)
        results.append(shown)
    return results


def errors_of(call: Call, table: Table, inputs: list[Json], outcome: Outcome) -> list[Json]:
    errors = []
    for given, refusal in outcome.refusals:
        context = {"objectWriteTraceId": [given["objectWriteTraceId"]], **refusal.context}
        message = refusal.text(call.portal.id)
        errors.append({"status": "error", "category": refusal.category, "message": message, "context": context})
    if outcome.missing:
        errors += missing_errors(table, inputs, outcome.missing)
    return errors


def missing_errors(table: Table, inputs: list[Json], missing: list[str]) -> list[Json]:
    """One error for all ids not found, or one for each where trace ids tell them apart."""
    message = f"Could not get some {table.kind.code} objects, they may be deleted or not exist. Check that ids are valid."
    base = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message}
    traces = {str(each["id"]): each.get("objectWriteTraceId") for each in inputs}
    if None in traces.values():
        return [{**base, "context": {"ids": missing}}]
    return [{**base, "context": {"ids": [each], "objectWriteTraceId": [traces[each]]}} for each in missing]


def shuffled(call: Call, results: list[Json]) -> list[Json]:
    """Creates and upserts do not come back in the order of their inputs."""
    if call.server.config.shuffle:
        call.portal.random.shuffle(results)
    return results


def batch_create(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    inputs = inputs_of(call)
    writer = Writer(call.portal, table)
    outcome = plan_all(call, inputs, lambda given: writer.plan_create(properties_of(given)))
    results = shuffled(call, carry_out(writer, outcome, upsert=False))
    return answer(call, 201, results, errors_of(call, table, inputs, outcome), writer.now)


def batch_update(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    inputs = inputs_of(call)
    no_duplicates((each.get("idProperty") or "", text_id(each)) for each in inputs)
    writer = Writer(call.portal, table)

    def plan(given: Json) -> Plan | None:
        record = found(call, table, given.get("idProperty"), text_id(given))
        return writer.plan_update(record, properties_of(given)) if record else None

    outcome = plan_all(call, inputs, plan)
    results = carry_out(writer, outcome, upsert=False)
    return answer(call, 200, results, errors_of(call, table, inputs, outcome), writer.now)


def found(call: Call, table: Table, prop: str | None, key: str) -> Record | None:
    """Ids of merged records lead nowhere here, unlike in single calls."""
    if not prop:
        return table.live(key)
    if not table.upsertable(prop):
        raise not_unique(call.portal, table, prop)
    return table.by_unique(prop, key)


def batch_upsert(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    inputs = inputs_of(call)
    for given in inputs:
        if not table.upsertable(given.get("idProperty") or "hs_object_id"):
            raise not_unique(call.portal, table, given.get("idProperty") or "hs_object_id")
    no_duplicates((each["idProperty"], text_id(each)) for each in inputs)
    writer = Writer(call.portal, table)

    def plan(given: Json) -> Plan:
        prop, key = given["idProperty"], text_id(given)
        record = table.by_unique(prop, key)
        if record:
            return writer.plan_update(record, properties_of(given))
        return writer.plan_create({prop: key, **properties_of(given)})

    outcome = plan_all(call, inputs, plan)
    results = shuffled(call, carry_out(writer, outcome, upsert=True))
    return answer(call, 200, results, errors_of(call, table, inputs, outcome), writer.now)


def batch_read(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    body = call.body()
    history = body.get("propertiesWithHistory") or []
    inputs = inputs_of(call)
    if history and len(inputs) > MOST_WITH_HISTORY:
        limit = f"for property histories is {MOST_WITH_HISTORY}"
        raise invalid(f"The maximum number of inputs supported in a batch request {limit}")
    view = View(call.portal, table, body.get("properties") or [], history)
    archived = call.query.get("archived") == "true"
    results, missing = [], []
    for key in dict.fromkeys(text_id(each) for each in inputs):
        record = table.records.get(key) if archived else found(call, table, body.get("idProperty"), key)
        if record and (record.archived_at is not None) == archived:
            results.append(view(record))
        else:
            missing.append(key)
    errors = missing_errors(table, inputs, missing) if missing else []
    return answer(call, 200, results, errors, view.now)


def batch_archive(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    writer = Writer(call.portal, table)
    for given in inputs_of(call):
        record = table.live(text_id(given))
        if record:
            archive(call.portal, table, record, writer.stamp)
    return Reply(204)
