"""A name is one text here and two in most systems: how it is taken apart, and put together so that it comes apart the same way.

The first name is what stands before the first space. A first name of several words keeps them together by no-break spaces,
and a last name alone stands after one: "Mary Ann" and "Smith" are `Mary<nbsp>Ann Smith`, none and "Smith" `<nbsp> Smith`.
`datasets.py` says the same in SQL.
"""

from __future__ import annotations

from typing import Final

NO_BREAK: Final = "\u00a0"


def split(name: str) -> tuple[str, str]:
    """First and last name, without white space around them."""
    trimmed = name.strip(" ")
    first = trimmed.split(" ", 1)[0]
    return tidy_first(first), trimmed[len(first) :].strip(" ")


def tidy_first(first: str) -> str:
    return first.replace(NO_BREAK, " ").strip(" ")


def compose(first: str, last: str) -> str:
    """The name that `split` takes apart into these two, once no white space stands around them."""
    glued = tidy_first(first.strip()).replace(" ", NO_BREAK)
    last = last.strip()
    return f"{glued or NO_BREAK} {last}" if last else glued
