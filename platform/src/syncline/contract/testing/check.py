"""What a check is, and the two ways its code speaks: `expect` and `attempt`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from syncline.contract import Capability

if TYPE_CHECKING:
    from .lab import Lab

T = TypeVar("T")


class Breach(AssertionError):
    """The connector does not keep the contract; the text says which rule and what was seen."""


class LeftOut(Exception):
    """The object does not declare what the check is about."""


@dataclass(frozen=True, slots=True)
class Check:
    """One rule. `needs`: capabilities without which there is nothing to check."""

    name: str
    rule: str
    needs: frozenset[Capability]
    run: Callable[[Lab], None]


CHECKS: dict[str, Check] = {}


def check(name: str, *needs: Capability) -> Callable[[Callable[[Lab], None]], Callable[[Lab], None]]:
    """Registers a function as a check; its docstring is the rule."""

    def register(run: Callable[[Lab], None]) -> Callable[[Lab], None]:
        if name in CHECKS:
            raise ValueError(f"There are two checks named {name}.")
        CHECKS[name] = Check(name, inspect.cleandoc(run.__doc__ or ""), frozenset(needs), run)
        return run

    return register


def expect(kept: object, otherwise: str) -> None:
    if not kept:
        raise Breach(otherwise)


def declared(offered: object, what: str) -> None:
    """Leaves the check out, visibly, where the object does not say that it can do this."""
    if not offered:
        raise LeftOut(f"the object declares no {what}")


def attempt(call: Callable[[], T]) -> T | Exception:
    """What the call gave, or the error it raised: a check judges both."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the error is the thing examined
        return error


def told(error: object) -> str:
    """An error as a message names it."""
    return f"{type(error).__name__}: {error}" if isinstance(error, Exception) else repr(error)
