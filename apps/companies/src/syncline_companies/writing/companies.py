"""Companies, as pulls bring them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils import timezone
from syncline.contract import Code, LocalChange, Op, Value
from syncline.contract.normalise import text as as_said

from ..models import Company, Country, Deal, Employee
from . import values as read
from .batch import RowBatch
from .tables import as_number
from .values import Refused


class Countries:
    """All of them, by code and by name; neither case nor spaces matter."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        self.names: dict[str, list[int]] = defaultdict(list)
        for key, code, name in Country.objects.order_by("id").values_list("pk", "iso_code", "name"):
            self.codes[as_said(code)] = key
            self.names[as_said(name)].append(key)

    def find(self, field: str, value: Value, current: int | None) -> int | None:
        """Of several countries with one name, the current one; a code is taken for a name, too, but never the other way round."""
        if value is None:
            return None
        said = as_said(str(value))
        code = [self.codes[said]] if said in self.codes else []
        found = code if field == "country" else self.names.get(said) or code
        if current in found or len(found) == 1:
            return current if current in found else found[0]
        raise Refused(Code.INVALID_VALUE, _ADVICE[bool(found)], field)


_ADVICE = {
    False: "The register has no such country. Add it under Countries in the admin, or correct it there.",
    True: "The register has several countries of this name. Give the ISO code instead, by a rule for the country code.",
}


class CompanyBatch(RowBatch[Company]):
    """`creator` of a new company is the connection's owner, as it is whoever enters one in the admin."""

    model = Company
    delete_permission = "companies.delete_company"

    def look_up(self) -> None:
        super().look_up()
        # Of the two days it may be, the earlier one: the table asks PostgreSQL for the date, which is that in UTC.
        today = min(timezone.localdate(), dt.datetime.now(dt.UTC).date())
        self.readers = {
            "name": read.text(200),
            "companies_house_id": read.house_number,
            "description": read.text(),
            "date_founded": read.past_date(today),
            "website": read.website,
        }
        named = any({"country", "country_name"} & change.values.keys() for change in self.changes)
        self.countries = Countries() if named else None
        self.in_use = self._in_use() if self.has(Op.DELETE) else frozenset()

    def _in_use(self) -> frozenset[int]:
        """Companies to be deleted that have people or deals; they are locked, so none comes to them any more."""
        asked = {as_number(change.local_key) for change in self.changes if change.op is Op.DELETE} & self.rows.keys()
        people = Employee.objects.filter(company__in=asked).order_by().values_list("company_id", flat=True)
        deals = Deal.objects.filter(company__in=asked).order_by().values_list("company_id", flat=True)
        return frozenset(people.union(deals))

    def new(self) -> Company:
        return Company(creator_id=self.owner.pk)

    def check_nothing_hangs_on(self, row: Company) -> None:
        if row.pk in self.in_use:
            raise Refused(
                Code.OTHER,
                "This company has people or deals here, which would go with it. Delete or move them first, "
                "or let the sync leave here what was deleted there.",
            )

    def columns(self, row: Company, values: Mapping[str, Value]) -> dict[str, Any]:
        found = super().columns(row, values)
        named = {name: values[name] for name in ("country", "country_name") if name in values}
        if named and self.countries:
            keys = {self.countries.find(name, value, row.country_id) for name, value in named.items()}
            if len(keys) > 1:
                sentence = "Country and country code name different countries. Correct one of them there, or remove its rule."
                raise Refused(Code.INVALID_VALUE, sentence, "country")
            found["country_id"] = keys.pop()
        return found


def referred(changes: Sequence[LocalChange], field: str) -> set[int]:
    """Keys of the companies that the changes refer to in this field."""
    values = (change.values.get(field) for change in changes)
    keys = (key for value in values for key in (value if isinstance(value, tuple) else (value,)))
    return {number for key in keys if (number := as_number(key if isinstance(key, str) else None)) is not None}


def company(key: Value, known: frozenset[int], field: str) -> int:
    found = as_number(key if isinstance(key, str) else None)
    if found is None or found not in known:
        raise Refused(Code.INVALID_VALUE, "It refers to a company that is not here. Pull the companies first.", field)
    return found
