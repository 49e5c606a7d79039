"""CEL expressions over a dataset's row, behind a guard.

CEL has no time limit and holds the interpreter lock, so what could run long is refused when the expression is compiled:
length, number of list functions; and lists given to it are capped. Only the fields it names are passed, as plain values.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any, Final

import cel

from syncline.contract import normalise

from .problems import listed, shorten

LONGEST: Final = 1000
MACROS: Final = 2  # three nested ones over short lists already ran for minutes
LONGEST_LIST: Final = 1000
LONGEST_LIST_NESTED: Final = 200

# The engine logs a failing function together with its arguments, which are a record's values.
_log = logging.getLogger("cel")
_log.addHandler(logging.NullHandler())
_log.propagate = False
_log.setLevel(logging.CRITICAL + 1)

# A comment may stand between the name and its parenthesis.
_GAP = r"(?:\s|//[^\n]*\n)*"
_MACRO: Final = re.compile(rf"\b(?:map|filter|all|exists|exists_one)\b{_GAP}\({_GAP}([A-Za-z_]\w*)?")
_ERROR: Final = re.compile(r"^(?:.*?)<input>:(\d+):(\d+): (?:Syntax error: )?([^\n]*?)(?: expecting .*)?$", re.MULTILINE)
_INCOMPLETE: Final = "Incomplete"
_DETAIL: Final = re.compile(r"\. (?:CEL does not coerce|Check function arguments).*", re.DOTALL)

_CONVERSIONS: Final = {"bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"}
_PARTS: Final = {
    "FullYear",
    "Month",
    "Date",
    "DayOfMonth",
    "DayOfWeek",
    "DayOfYear",
    "Hours",
    "Minutes",
    "Seconds",
    "Milliseconds",
}
STANDARD: Final = frozenset(
    {"contains", "endsWith", "matches", "max", "min", "size", "startsWith"} | _CONVERSIONS | {f"get{part}" for part in _PARTS}
)


class Refused(ValueError):
    """The expression cannot be used; the message says what and, where known, at which line and column."""


class EvaluationFailed(ValueError):
    """The expression has no value for this row."""


class Expression:
    """A compiled expression. Calls from several threads do not share state."""

    __slots__ = ("_limit", "_own", "_program", "needs", "source")

    def __init__(self, source: str, fields: Collection[str]) -> None:
        """`fields`: names the expression may use. Raises Refused."""
        if len(source) > LONGEST:
            raise Refused(
                f"The expression has {len(source)} characters; at most {LONGEST} are allowed. Split it into several rules."
            )
        if not source.strip():
            raise Refused("The expression is empty. Write one, or choose a field.")
        macros = [match[1] for match in _MACRO.finditer(source)]
        if len(macros) > MACROS:
            raise Refused(
                f"The expression has {len(macros)} list functions (map, filter, all, exists); at most {MACROS} are allowed."
            )
        self.source = source
        self._program = _compile(source)
        self._limit = LONGEST_LIST if len(macros) < 2 else LONGEST_LIST_NESTED
        self.needs: tuple[str, ...] = tuple(sorted(set(self._program.variables()) - set(macros)))
        self._own = _own_functions(self._program.functions())
        if unknown := [name for name in self.needs if name not in fields]:
            raise Refused(f"Unknown field: {listed(unknown)}. The dataset has {listed(fields)}.")

    def __call__(self, row: Mapping[str, object]) -> Any:
        """The value for this row; raises EvaluationFailed, KeyError when the row lacks a field it needs."""
        values: dict[str, Any] = {name: _plain(row[name], self._limit) for name in self.needs}
        values.update(self._own)
        try:
            return self._program.execute(values)
        except BaseException as error:
            # A panic of the engine is not an Exception; a wish to stop must not be held up.
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            raise EvaluationFailed(_DETAIL.sub("", shorten(error, 200)).rstrip(".")) from None


def _compile(source: str) -> Any:
    try:
        return cel.compile(source)
    except ValueError as error:
        found = [match for match in _ERROR.finditer(str(error)) if not match[3].startswith(_INCOMPLETE)]
        if not found:
            raise Refused(shorten(error, 200)) from None
        reason = found[0][3].replace("<EOF>", "end of the expression").rstrip(".")
        raise Refused(f"Line {found[0][1]}, column {found[0][2]}: {shorten(reason, 120)}.") from None


def _own_functions(called: Collection[str]) -> dict[str, Callable[..., Any]]:
    names = {name for name in called if name[0].isalpha()}
    if unknown := sorted(names - STANDARD - FUNCTIONS.keys()):
        raise Refused(f"Unknown function: {listed(unknown)}. Own functions are {listed(FUNCTIONS)}.")
    return {name: FUNCTIONS[name] for name in names & FUNCTIONS.keys()}


def _plain(value: object, longest: int) -> Any:
    """CEL knows neither dates nor decimals: a date is midnight UTC, a decimal a double."""
    if value is None or isinstance(value, str | int | float | dt.datetime):
        return value
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    if isinstance(value, list | tuple | set | frozenset):
        if len(value) > longest:
            raise EvaluationFailed(f"A list of {len(value)} is too long for an expression; at most {longest} are allowed")
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [_plain(item, longest) for item in items]
    return str(value)


def _on_text(function: Callable[[str], Any]) -> Callable[..., Any]:
    """A function that leaves alone what is not text."""

    def call(value: Any = None, *_rest: Any) -> Any:
        return function(value) if isinstance(value, str) else value

    return call


def _length(value: Any = None, *_rest: Any) -> int:
    return len(value) if isinstance(value, str | list | dict | bytes) else 0


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if value is not None and value != ""), None)


def _text(value: Any = None, *_rest: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _number(value: Any = None, *_rest: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


#: Own functions, beside CEL's standard ones; none of them ever fails.
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "lower": _on_text(str.lower),
    "upper": _on_text(str.upper),
    "trim": _on_text(str.strip),
    "domain": _on_text(normalise.domain),
    "length": _length,
    "coalesce": _coalesce,
    "text": _text,
    "number": _number,
}
