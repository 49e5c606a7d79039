"""Deals, as pulls bring them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncline.contract import Value

from ..models import Deal
from . import values as read
from .batch import RowBatch
from .companies import company, referred
from .tables import kept_companies
from .values import required


class DealBatch(RowBatch[Deal]):
    model = Deal
    delete_permission = "companies.delete_deal"
    readers = {"date_of_deal": read.date, "amount_raised": read.money(15)}

    def look_up(self) -> None:
        self.companies = kept_companies(referred(self.changes, "company"))
        super().look_up()

    def columns(self, row: Deal, values: Mapping[str, Value]) -> dict[str, Any]:
        found = super().columns(row, values)
        if "company" in values:
            if values["company"] is None:
                raise required("company", self.fields["company"].label)
            found["company_id"] = company(values["company"], self.companies, "company")
        return found
