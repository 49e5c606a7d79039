"""Licences as they are, against what somebody expects them to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .models import Customer

SHOWN: Final = ("name", "signed_tos", "skus")


def mismatches(expected: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence for each customer that differs. `expected`: Salesforce id → name, signed_tos and skus."""
    there = licensed(list(expected))
    return [_sentence(who, expected[who], there.get(who)) for who in sorted(expected) if not _same(expected[who], there.get(who))]


def licensed(ids: list[str]) -> dict[str, dict[str, Any]]:
    customers = Customer.objects.filter(salesforce_id__in=ids).prefetch_related("licenses__sku")
    return {
        one.salesforce_id: {
            "name": one.name,
            "signed_tos": one.signed_tos,
            "skus": sorted(held.sku.code for held in one.licenses.all() if held.active),
        }
        for one in customers
    }


def _same(expected: Mapping[str, Any], found: Mapping[str, Any] | None) -> bool:
    return found is not None and all(found[name] == _plain(expected[name]) for name in SHOWN)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, list) else value


def _sentence(who: str, expected: Mapping[str, Any], found: Mapping[str, Any] | None) -> str:
    if found is None:
        return f"{who}: expected, but not here."
    differ = [
        f"{name} is {found[name]!r} instead of {expected[name]!r}" for name in SHOWN if found[name] != _plain(expected[name])
    ]
    return f"{who}: {', '.join(differ)}."
