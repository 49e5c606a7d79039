"""Queries: SELECT … FROM … WHERE … ORDER BY … LIMIT …, as far as a connector needs them."""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .org import Org, Record, stamp
from .refusals import ApiError

TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^'\\]|\\.)*')|(?P<moment>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<word>[A-Za-z_][\w.]*)|(?P<sign><=|>=|!=|<>|[=<>(),]))"
)
ESCAPE = re.compile(r"\\(.)")
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
Test = Callable[[Record], bool]
Token = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    fields: list[str]
    kind: str
    records: list[Record]

    def shown(self, record: Record) -> dict[str, Any]:
        attributes = {"type": self.kind, "url": f"/services/data/v67.0/sobjects/{self.kind}/{record['Id']}"}
        return {"attributes": attributes, **{name: record[name] for name in self.fields}}


def run(org: Org, text: str, *, deleted: bool) -> Query:
    return _Parser(org, text).query(deleted=deleted)


def _malformed(near: object) -> ApiError:
    return ApiError(400, "MALFORMED_QUERY", f"unexpected token: {near}")


def _literal(kind: str, text: str) -> Any:
    if kind == "string":
        return ESCAPE.sub(lambda found: {"n": "\n", "r": "\r", "t": "\t"}.get(found[1], found[1]), text[1:-1])
    if kind == "moment":
        return stamp(dt.datetime.fromisoformat(text).timestamp())
    return float(text) if kind == "number" else text


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    place = 0
    while text[place:].strip():
        hit = TOKEN.match(text, place)
        if hit is None or hit.lastgroup is None:
            raise _malformed(text[place : place + 20])
        found.append((hit.lastgroup, _literal(hit.lastgroup, hit[hit.lastgroup])))
        place = hit.end()
    return found


class _Parser:
    def __init__(self, org: Org, text: str) -> None:
        self._org, self._tokens, self._at, self._kind = org, _tokens(text), 0, ""

    def query(self, *, deleted: bool) -> Query:
        self._expect("SELECT")
        names = self._list()
        self._expect("FROM")
        self._kind = str(self._next()[1])
        if self._kind not in self._org.objects:
            raise ApiError(400, "INVALID_TYPE", f"sObject type '{self._kind}' is not supported.")
        fields = [self._field(name) for name in names]
        test = self._either() if self._word("WHERE") else (lambda _: True)
        found = [r for r in self._org.records[self._kind].values() if (deleted or not r["IsDeleted"]) and test(r)]
        self._ordered(found)
        limit = int(self._next()[1]) if self._word("LIMIT") else len(found)
        if self._at != len(self._tokens):
            raise _malformed(self._next()[1])
        return Query(fields, self._kind, found[:limit])

    def _ordered(self, found: list[Record]) -> None:
        if not self._word("ORDER"):
            return
        self._expect("BY")
        names = [self._field(name) for name in self._list()]
        found.sort(key=lambda record: tuple(_sortable(record[name]) for name in names))

    def _either(self) -> Test:
        tests = [self._all()]
        while self._word("OR"):
            tests.append(self._all())
        return tests[0] if len(tests) == 1 else lambda record: any(test(record) for test in tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._word("AND"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda record: all(test(record) for test in tests)

    def _one(self) -> Test:
        kind, value = self._next()
        if (kind, value) == ("sign", "("):
            inner = self._either()
            self._sign(")")
            return inner
        name = self._field(str(value))
        if self._word("IN"):
            return self._within(name)
        sign = str(self._next()[1])
        if sign not in SIGNS:
            raise _malformed(sign)
        wanted, compare = self._comparable(name, self._value()), SIGNS[sign]
        if wanted is None or compare in (operator.eq, operator.ne):
            return lambda record: compare(self._comparable(name, record[name]), wanted)
        return lambda record: record[name] is not None and compare(self._comparable(name, record[name]), wanted)

    def _within(self, name: str) -> Test:
        self._sign("(")
        wanted = {self._comparable(name, self._value())}
        while self._peek() == ("sign", ","):
            self._at += 1
            wanted.add(self._comparable(name, self._value()))
        self._sign(")")
        return lambda record: self._comparable(name, record[name]) in wanted

    def _comparable(self, name: str, value: Any) -> Any:
        """Text is compared whatever its capitals, ids are not."""
        exact = self._org.objects[self._kind].fields[name].type in ("id", "reference", "datetime", "date")
        return value.lower() if isinstance(value, str) and not exact else value

    def _field(self, name: str) -> str:
        if name not in self._org.objects[self._kind].fields:
            where = f"\nSELECT {name} FROM {self._kind}\n^\nERROR at Row:1:Column:8"
            raise ApiError(400, "INVALID_FIELD", f"{where}\nNo such column '{name}' on entity '{self._kind}'.")
        return name

    def _value(self) -> Any:
        kind, value = self._next()
        if kind == "word":
            return {"TRUE": True, "FALSE": False, "NULL": None}[str(value).upper()]
        return value

    def _list(self) -> list[str]:
        names = [str(self._next()[1])]
        while self._peek() == ("sign", ","):
            self._at += 1
            names.append(str(self._next()[1]))
        return names

    def _peek(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _next(self) -> Token:
        token = self._peek()
        if not token[0]:
            raise _malformed("<EOF>")
        self._at += 1
        return token

    def _word(self, word: str) -> bool:
        kind, value = self._peek()
        hit = kind == "word" and str(value).upper() == word
        self._at += hit
        return hit

    def _expect(self, word: str) -> None:
        if not self._word(word):
            raise _malformed(self._peek()[1])

    def _sign(self, sign: str) -> None:
        if self._next() != ("sign", sign):
            raise _malformed(self._peek()[1])


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is not None, value
