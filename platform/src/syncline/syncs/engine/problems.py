"""What can be wrong: with a mapping (before it is published) and with one value (while records are mapped)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from syncline.contract.errors import ConfigError
from syncline.contract.values import Code

SHOWN = 80  # characters of a value that problems may carry
LISTED = 8  # names a sentence lists before it stops


@dataclass(frozen=True, slots=True)
class Problem:
    """`where`: the rule, step or setting; `message`: what is wrong there and what to do; `target`: of a suspended rule."""

    where: str
    message: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class MappingInvalid(ConfigError):
    """The mapping cannot be used. Correct what is listed and publish it again."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("The mapping cannot be used. " + " ".join(str(p) for p in self.problems))


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """Why a rule gave no value for one record. `target` is "" when the filter failed.

    `value` is the source value, shortened to 80 characters; `message` names field, rule, value and the next step.
    """

    target: str
    rule: str
    value: str
    code: Code
    message: str


class Unmappable(ValueError):
    """A value has no canonical form, or the property does not take it; `advice` says what a person can do."""

    def __init__(self, reason: str, advice: str, code: Code = Code.INVALID_VALUE) -> None:
        super().__init__(f"{reason} {advice}")
        self.reason, self.advice, self.code = reason, advice, code


def shorten(value: object, length: int = SHOWN) -> str:
    """The value as text in at most `length` characters, on one line, encodable."""
    text = value[: length * 4] if isinstance(value, str) else _text(value)
    line = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _text(value: object) -> str:
    try:
        return "nothing" if value is None else str(value)
    except ValueError:  # an int of more digits than Python converts
        return f"a very large {type(value).__name__}"


def listed(names: Iterable[str]) -> str:
    """Up to 8 names for a sentence, and how many were left out."""
    known = [shorten(name, 40) for name in names]
    rest = len(known) - LISTED
    return ", ".join(known[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
