"""What the register does for its users, apart from being kept: monitoring and statistics."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth import get_user_model
from django.db.models import Count, F, QuerySet, Sum
from django.db.models.functions import TruncQuarter
from django.utils import timezone

from .models import Company, Country, Deal, Employee

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

QUARTERS: Final = 20
RECENT: Final = 10
CENT: Final = Decimal("0.01")


def monitor(company: Company, user: AbstractBaseUser) -> None:
    """From now on the user monitors the company; twice is once."""
    company.monitors.add(user.pk)


def unmonitor(company: Company, user: AbstractBaseUser) -> None:
    company.monitors.remove(user.pk)


@dataclass(frozen=True, slots=True)
class FoundedCompany:
    id: int
    name: str
    date_founded: dt.date
    country: str | None


@dataclass(frozen=True, slots=True)
class Quarter:
    start: dt.date
    companies: int

    @property
    def label(self) -> str:
        return f"{self.start.year} Q{(self.start.month + 2) // 3}"


@dataclass(frozen=True, slots=True)
class Creator:
    """`name` is fit for the public; `count` is of companies or of employees, as asked."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Raised:
    """What a country's companies raised. Companies without a country are counted under none (both texts empty).

    `average`: per company, counting those that raised nothing; `average_deal`: per deal, None without any.
    """

    iso_code: str
    country: str
    companies: int
    deals: int
    total: Decimal
    average: Decimal
    average_deal: Decimal | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """`average_employees` is per company, counting those with none; None when there is no company."""

    companies: int
    employees: int
    average_employees: Decimal | None
    recently_founded: tuple[FoundedCompany, ...]
    founded_per_quarter: tuple[Quarter, ...]
    top_creator: Creator | None
    creator_with_most_employees: Creator | None
    raised_by_country: tuple[Raised, ...]


def statistics(today: dt.date | None = None) -> Statistics:
    """The register in figures, in ten queries at most, whatever its size."""
    raised = tuple(raised_by_country())
    companies, employees = sum(row.companies for row in raised), Employee.objects.count()
    return Statistics(
        companies=companies,
        employees=employees,
        average_employees=ratio(Decimal(employees), companies),
        recently_founded=recently_founded(),
        founded_per_quarter=founded_per_quarter(today or timezone.localdate()),
        top_creator=top_creator(),
        creator_with_most_employees=creator_with_most_employees(),
        raised_by_country=raised,
    )


def recently_founded() -> tuple[FoundedCompany, ...]:
    newest: QuerySet[Any] = Company.objects.exclude(date_founded=None).order_by("-date_founded", "-id")
    rows = newest.values("id", "name", "date_founded", country_name=F("country__name"))[:RECENT]
    return tuple(FoundedCompany(row["id"], row["name"].strip(), row["date_founded"], row["country_name"]) for row in rows)


def founded_per_quarter(today: dt.date) -> tuple[Quarter, ...]:
    """The running quarter and those of the five years before it that make twenty, empty ones included."""
    starts = list(quarter_starts(today))
    founded = Company.objects.filter(date_founded__gte=starts[0]).order_by()
    rows = founded.annotate(start=TruncQuarter("date_founded")).values_list("start").annotate(companies=Count("*"))
    counts: dict[dt.date, int] = dict(rows)
    return tuple(Quarter(start, counts.get(start, 0)) for start in starts)


def quarter_starts(today: dt.date) -> Iterator[dt.date]:
    running = today.year * 4 + (today.month - 1) // 3
    for number in range(running - QUARTERS + 1, running + 1):
        yield dt.date(number // 4, number % 4 * 3 + 1, 1)


def top_creator() -> Creator | None:
    known = Company.objects.exclude(creator=None).order_by()
    return _first(known.values_list("creator").annotate(count=Count("*")).order_by("-count", "creator"))


def creator_with_most_employees() -> Creator | None:
    """Who entered the companies that together have the most employees."""
    known = Employee.objects.exclude(company__creator=None).order_by()
    by_creator = known.values_list("company__creator").annotate(count=Count("*"))
    return _first(by_creator.order_by("-count", "company__creator"))


def _first(creators: Any) -> Creator | None:
    row = creators.first()
    return Creator(public_name(get_user_model().objects.get(pk=row[0])), row[1]) if row else None


def public_name(user: AbstractBaseUser) -> str:
    """A name that may be shown to anybody: never an e-mail address."""
    full = str(getattr(user, "get_full_name", str)()).strip()
    return full or user.get_username().split("@")[0]


def raised_by_country() -> list[Raised]:
    """Every country that has companies, the one with the highest average first."""
    companies = dict(Company.objects.order_by().values_list("country").annotate(count=Count("*")))
    deals = Deal.objects.order_by().values_list("company__country").annotate(count=Count("*"), total=Sum("amount_raised"))
    raised = {country: (count, total) for country, count, total in deals}
    names = Country.objects.in_bulk([pk for pk in companies if pk is not None])
    rows = [_raised(names.get(pk), count, *raised.get(pk, (0, Decimal(0)))) for pk, count in companies.items()]
    return sorted(rows, key=lambda row: (-row.average, row.country))


def _raised(country: Country | None, companies: int, deals: int, total: Decimal) -> Raised:
    code, name = (country.iso_code, country.name) if country else ("", "")
    return Raised(code, name, companies, deals, total, ratio(total, companies) or Decimal(0), ratio(total, deals))


def ratio(total: Decimal, count: int) -> Decimal | None:
    return (total / count).quantize(CENT, ROUND_HALF_EVEN) if count else None
