"""Transforms as a line of text that a person reads and writes: `trim | truncate length=40 | default value="unknown"`.

Options are `name=value`; a value is JSON, or a bare word. Reading what was written gives the same steps again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .engine.transforms import TRANSFORMS, options_of

_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")
_OPTION = re.compile(r"\s+([A-Za-z_][A-Za-z0-9_]*)\s*=\s*")
_BARE = re.compile(r"""[^\s|"{}\[\],]+""")
_END = re.compile(r"\s*(\||\Z)")
_DECODER = json.JSONDecoder()

Step = dict[str, Any]


class Unreadable(ValueError):
    """The line cannot be read, or asks for something that does not exist; the message says what to write."""


def write(steps: object) -> str:
    """The steps as one line; what is no list of steps is written as JSON, so that nothing is hidden."""
    if not isinstance(steps, Sequence) or isinstance(steps, str) or not all(_is_step(step) for step in steps):
        return json.dumps(steps, ensure_ascii=False)
    return " | ".join(_written(step) for step in steps)


def _is_step(step: object) -> bool:
    if not isinstance(step, Mapping) or not isinstance(step.get("name"), str):
        return False
    return all(_NAME.fullmatch(key) is not None and key.strip() == key for key in (step["name"], *options_of(step)))


def _written(step: Mapping[str, Any]) -> str:
    return " ".join([step["name"], *(f"{name}={_value(value)}" for name, value in options_of(step).items())])


def _value(value: Any) -> str:
    if isinstance(value, str) and _BARE.fullmatch(value) and _read_bare(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def read(line: str) -> list[Step]:
    """The steps of the line; Unreadable with a sentence. Names and options are checked as well."""
    text = line.strip()
    if not text:
        return []
    steps = list(_steps(text))
    for step in steps:
        _check(step)
    return steps


def _steps(text: str) -> Iterator[Step]:
    at = 0
    while True:
        step, at = _step(text, at)
        yield step
        end = _END.match(text, at)
        if end is None:
            raise Unreadable(f"“{text[at : at + 20].strip()}” is not understood. Write steps as “trim | truncate length=40”.")
        if not end[1]:
            return
        at = end.end()


def _step(text: str, at: int) -> tuple[Step, int]:
    name = _NAME.match(text, at)
    if name is None:
        raise Unreadable("A transform's name is missing. Write steps as “trim | truncate length=40”.")
    step, at = {"name": name[1]}, name.end()
    while (option := _OPTION.match(text, at)) is not None:
        step[option[1]], at = _option(text, option.end(), option[1])
    return step, at


def _option(text: str, at: int, name: str) -> tuple[Any, int]:
    if text[at : at + 1] in {'"', "{", "["}:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except ValueError:
            raise Unreadable(f"The value of {name} is not closed or not valid JSON. Close its quotes or brackets.") from None
        return value, end
    bare = _BARE.match(text, at)
    if bare is None:
        raise Unreadable(f'{name} has no value. Write {name}=value, or {name}="…" for a text with spaces.')
    return _read_bare(bare[0]), bare.end()


def _read_bare(word: str) -> Any:
    """Numbers, true, false and null are what they are in JSON; anything else is text."""
    try:
        return json.loads(word, parse_constant=lambda _: word)
    except ValueError:
        return word


def _check(step: Step) -> None:
    known = TRANSFORMS.get(step["name"])
    if known is None:
        raise Unreadable(f"There is no transform “{step['name']}”. Choose one of {', '.join(TRANSFORMS)}.")
    if complaint := known.complaint(options_of(step)):
        raise Unreadable(f"The transform “{known.name}” has wrong options: {complaint}.")
