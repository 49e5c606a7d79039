"""Values that are secret: they behave like text and dict, but show a mask wherever they are turned into text for people."""

from __future__ import annotations

from typing import Any

MASK = "•••"


class SecretText(str):
    """Text that prints as a mask: in str(), format(), repr() and templates. `reveal()` gives the text itself.

    Comparison, encoding and JSON see the text, so it can be handed to HTTP libraries and equality tests.
    """

    __slots__ = ()

    def reveal(self) -> str:
        return str.__str__(self)

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return repr(MASK)

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __html__(self) -> str:
        return MASK


class SecretDict(dict[str, Any]):
    """A dict that prints its keys and masks its values; items are plain."""

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{key!r}: {MASK}" for key in self) + "}"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)


def reveal(value: str | None) -> str:
    """The text of a secret or of plain text, "" for none."""
    return value.reveal() if isinstance(value, SecretText) else value or ""
