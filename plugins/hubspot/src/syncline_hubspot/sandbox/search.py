"""Search: hits are chosen by what the index knows and shown as they are now."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from datetime import datetime

import orjson

from .objects import View
from .portal import Portal
from .records import Record, Table, Values
from .wire import Call, Json, Reply, invalid

PAGE = 200
WALL = 10_000
MOST_GROUPS, MOST_FILTERS, MOST_FILTERS_IN_ALL = 5, 6, 18
LONGEST_QUERY = 3_000

Test = Callable[[Values], bool]
_TOKENS = re.compile(r"[a-z0-9]+")


def search(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    body = call.body()
    limit, after = _paging(body)
    table.settle_all(call.portal.clock.now(), call.portal.config.index_lag_s)
    hits, first = _found(call.portal, table, body)
    view = View(call.portal, table, body.get("properties") or [])
    page = hits[first + after : first + after + limit]
    total = len(hits) - first
    shown: Json = {"total": total, "results": [view(record) for record in page if record.archived_at is None]}
    if total > after + limit:
        shown["paging"] = {"next": {"after": str(after + limit)}}
    return Reply(200, shown)


def _found(portal: Portal, table: Table, body: Json) -> tuple[list[Record], int]:
    """The hits, and where among them the asked ones begin.

    Whoever pages sends one query many times, by offset or by a growing id: it is answered once until something changes.
    """
    asked, beyond = _without_window(body)
    key = orjson.dumps([asked.get(name) for name in ("filterGroups", "filters", "query", "sorts")])
    known = table.searches.get(key)
    if known is None or known[0] != table.version or b'"associations.' in key:
        wanted = _wanted(portal, table, asked)
        hits = [record for record in table.records.values() if record.indexed is not None and wanted(record.indexed)]
        _sort(table, hits, asked.get("sorts") or [])
        known = (table.version, hits)
        table.remember(key, known)
    return known[1], bisect_right(known[1], beyond, key=lambda record: int(record.id)) if beyond else 0


def _without_window(body: Json) -> tuple[Json, int]:
    """A search by ascending ids without the id from which it goes on, and that id; 0 for every other search."""
    groups = body.get("filterGroups") or []
    by_id = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
    if body.get("sorts") != by_id or len(groups) != 1 or body.get("filters"):
        return body, 0
    filters = groups[0].get("filters") or []
    if len(filters) > MOST_FILTERS:
        return body, 0
    rest = [each for each in filters if (each.get("propertyName"), each.get("operator")) != ("hs_object_id", "GT")]
    beyond = [str(each.get("value")) for each in filters if each not in rest]
    if len(beyond) != 1 or not beyond[0].isdigit():
        return body, 0
    return {**body, "filterGroups": [{"filters": rest}]}, int(beyond[0])


def _paging(body: Json) -> tuple[int, int]:
    limit, after = body.get("limit") or 10, str(body.get("after") or 0)
    if not isinstance(limit, int) or not 1 <= limit <= PAGE:
        raise invalid(f"Invalid limit {limit}: it must be between 1 and {PAGE}")
    if not after.isdigit():
        raise invalid(f"Invalid paging token: {after}")
    if int(after) + limit > WALL:
        raise invalid(f"Search pages end at {WALL} results; narrow the filters instead")
    return limit, int(after)


def _wanted(portal: Portal, table: Table, body: Json) -> Test:
    groups = [group.get("filters") or [] for group in body.get("filterGroups") or []]
    if body.get("filters"):
        groups.append(body["filters"])
    too_many = len(groups) > MOST_GROUPS or any(len(group) > MOST_FILTERS for group in groups)
    if too_many or sum(map(len, groups)) > MOST_FILTERS_IN_ALL:
        limits = f"{MOST_GROUPS} groups, {MOST_FILTERS} filters each and {MOST_FILTERS_IN_ALL} in all"
        raise invalid(f"Too many filters: at most {limits} are supported")
    compiled = [_every([_compiled(portal, table, each) for each in group]) for group in groups]
    text = str(body.get("query") or "")
    return _every([*([_query(table, text)] if text else []), *([_any(compiled)] if compiled else [])])


def _every(tests: list[Test]) -> Test:
    """All of them; a single one stands for itself, because a scan runs it for every record."""
    return tests[0] if len(tests) == 1 else lambda values: all(test(values) for test in tests)


def _any(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda values: any(test(values) for test in tests)


def _query(table: Table, text: str) -> Test:
    """Free text over the properties that are shown by default, phone and website."""
    if len(text) > LONGEST_QUERY:
        raise invalid(f"The query is longer than {LONGEST_QUERY} characters")
    words = text.lower().split()
    names = (*table.kind.shown, "phone", "website")
    return lambda values: all(any(word in values.get(name, "").lower() for name in names) for word in words)


def _compiled(portal: Portal, table: Table, given: Json) -> Test:
    name, operator = str(given.get("propertyName")), str(given.get("operator"))
    if name.startswith("associations."):
        return _linked(portal, table, name.partition(".")[2], given)
    if name not in table.definitions:
        raise invalid(f"There was a problem with the request: Property '{name}' does not exist")
    kind = table.definitions[name]["type"]
    if operator in ("IN", "NOT_IN"):
        return _among(name, operator, given, exact=kind == "enumeration")
    if operator in ("HAS_PROPERTY", "NOT_HAS_PROPERTY"):
        return lambda values: (name in values) == (operator == "HAS_PROPERTY")
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        return _token(name, operator, str(given.get("value", "")))
    return _compared(name, operator, kind, given)


def _among(name: str, operator: str, given: Json, *, exact: bool) -> Test:
    """Strings are compared with the lower-cased record, so values given in upper case match nothing."""
    allowed = set(given.get("values") or ())
    if not allowed:
        raise invalid(f"Operator {operator} needs `values`")
    inside = operator == "IN"

    def test(values: Values) -> bool:
        held = values.get(name)
        if held is None:
            return not inside
        if exact:
            return (not allowed.isdisjoint(held.split(";"))) == inside
        return (held.lower() in allowed) == inside

    return test


def _token(name: str, operator: str, wanted: str) -> Test:
    """Words of the value, split at everything that is no letter or digit; `*` stands for any rest."""
    parts = [re.escape(part).replace(r"\*", ".*") for part in re.findall(r"[a-z0-9*]+", wanted.lower())]
    patterns = [re.compile(part) for part in parts]

    def contained(values: Values) -> bool:
        tokens = _TOKENS.findall(values.get(name, "").lower())
        return all(any(pattern.fullmatch(token) for token in tokens) for pattern in patterns)

    return contained if operator == "CONTAINS_TOKEN" else lambda values: not contained(values)


_ORDERED: dict[str, Callable[[float | str, float | str], bool]] = {
    "EQ": lambda held, wanted: held == wanted,
    "LT": lambda held, wanted: held < wanted,  # type: ignore[operator]
    "LTE": lambda held, wanted: held <= wanted,  # type: ignore[operator]
    "GT": lambda held, wanted: held > wanted,  # type: ignore[operator]
    "GTE": lambda held, wanted: held >= wanted,  # type: ignore[operator]
}


def _compared(name: str, operator: str, kind: str, given: Json) -> Test:
    if "value" not in given:
        raise invalid(f"Operator {operator} on {name} needs a value")
    key = _key_for(kind)
    wanted = key(str(given["value"]))
    if operator == "NEQ":
        return lambda values: name not in values or key(values[name]) != wanted
    if operator == "BETWEEN":
        high = key(str(given.get("highValue", "")))
        return lambda values: name in values and wanted <= key(values[name]) <= high  # type: ignore[operator]
    if operator not in _ORDERED:
        raise invalid(f"Unknown search operator {operator}")
    compare = _ORDERED[operator]
    return lambda values: name in values and compare(key(values[name]), wanted)


def _key_for(kind: str) -> Callable[[str], float | str]:
    if kind == "number":
        return _number
    if kind in ("date", "datetime"):
        return _instant
    return (lambda text: text) if kind == "enumeration" else str.lower


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise invalid(f"{text} is not a number") from error


def _instant(text: str) -> float:
    """Dates are given as epoch milliseconds or ISO text."""
    try:
        if re.fullmatch(r"-?[0-9]+", text):
            return float(text)
        whole = text if len(text) > 10 else f"{text}T00:00:00Z"
        return datetime.fromisoformat(whole).timestamp() * 1000
    except ValueError as error:
        raise invalid(f"{text} is not a date") from error


def _linked(portal: Portal, table: Table, other: str, given: Json) -> Test:
    """The pseudo-property `associations.<type>`; associations are searched as they are."""
    pair = (portal.table(other).kind.type_id, table.kind.type_id)
    wanted = [str(each) for each in given.get("values") or [given.get("value")]]
    linked = {record_id for each in wanted for record_id in portal.links.of(pair, each)}
    inside = given.get("operator") in ("EQ", "IN")
    return lambda values: (values["hs_object_id"] in linked) == inside


def _sort(table: Table, hits: list[Record], sorts: list[Json | str]) -> None:
    """One sort only; records without the property come last. Without a sort, oldest first."""
    if len(sorts) > 1:
        raise invalid("Only one sort is supported")
    for given in sorts:
        name = given.get("propertyName", "") if isinstance(given, dict) else given.lstrip("-")
        if name not in table.definitions:
            raise invalid(f"There was a problem with the request: Property '{name}' does not exist")
        down = given.get("direction") == "DESCENDING" if isinstance(given, dict) else given.startswith("-")
        key = _key_for(table.definitions[name]["type"])
        with_value = [each for each in hits if name in (each.indexed or {})]
        with_value.sort(key=lambda each: key((each.indexed or {})[name]), reverse=down)
        hits[:] = with_value + [each for each in hits if name not in (each.indexed or {})]
