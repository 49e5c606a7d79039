"""Statistics on registers small enough to count, with everything missing that may be missing."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from syncline_companies import services
from syncline_companies.models import Company, Country, Deal, Employee
from syncline_companies.services import Creator, Quarter, Raised, statistics

pytestmark = pytest.mark.django_db
TODAY = dt.date(2026, 8, 15)


@pytest.fixture
def register() -> None:
    ada = User.objects.create_user("ada@example.com", first_name="", last_name="")
    bob = User.objects.create_user("bob", first_name="Bob", last_name="Bell")
    gb, fr = (Country.objects.create(iso_code=code, name=name) for code, name in (("GB", "Britain"), ("FR", "France")))
    Country.objects.create(iso_code="DE", name="Germany")
    one = Company.objects.create(name="One", creator=ada, country=gb, date_founded=dt.date(2026, 8, 1))
    two = Company.objects.create(name="Two", creator=ada, country=gb, date_founded=dt.date(2021, 10, 1))
    three = Company.objects.create(name="", creator=bob, country=fr, date_founded=dt.date(2021, 9, 30))
    lost = Company.objects.create(name="Lost")
    for company, people in ((one, 1), (three, 2), (lost, 4)):
        Employee.objects.bulk_create([Employee(company=company, name="A") for _ in range(people)])
    for company, amount in ((one, "100.01"), (one, "50"), (two, "0"), (lost, "7")):
        Deal.objects.create(company=company, amount_raised=Decimal(amount))


@pytest.mark.usefixtures("register")
class TestRegister:
    def test_totals(self) -> None:
        figures = statistics(TODAY)
        assert (figures.companies, figures.employees, figures.average_employees) == (4, 7, Decimal("1.75"))

    def test_recently_founded_leaves_out_missing_dates(self) -> None:
        assert [(row.name, row.country) for row in statistics(TODAY).recently_founded] == [
            ("One", "Britain"), ("Two", "Britain"), ("", "France"),
        ]  # fmt: skip

    def test_only_ten_are_recent(self) -> None:
        Company.objects.bulk_create([Company(name=f"C{day}", date_founded=dt.date(2020, 1, day)) for day in range(1, 20)])
        recent = statistics(TODAY).recently_founded
        assert len(recent) == 10
        assert recent[-1].date_founded == dt.date(2020, 1, 13)

    def test_quarters_with_empty_ones_and_exact_borders(self) -> None:
        quarters = statistics(TODAY).founded_per_quarter
        assert len(quarters) == 20
        assert quarters[0] == Quarter(dt.date(2021, 10, 1), 1)
        assert quarters[-1] == Quarter(dt.date(2026, 7, 1), 1)
        assert [quarter.companies for quarter in quarters[1:-1]] == [0] * 18
        assert [quarter.label for quarter in quarters[:2]] == ["2021 Q4", "2022 Q1"]

    def test_creators_and_no_email_in_their_names(self) -> None:
        figures = statistics(TODAY)
        assert figures.top_creator == Creator("ada", 2)
        assert figures.creator_with_most_employees == Creator("Bob Bell", 2)

    def test_raised_by_country_counts_companies_without_deals_and_without_country(self) -> None:
        assert statistics(TODAY).raised_by_country == (
            Raised("GB", "Britain", 2, 3, Decimal("150.01"), Decimal("75.00"), Decimal("50.00")),
            Raised("", "", 1, 1, Decimal("7.00"), Decimal("7.00"), Decimal("7.00")),
            Raised("FR", "France", 1, 0, Decimal(0), Decimal("0.00"), None),
        )

    def test_a_fixed_number_of_queries(self) -> None:
        with CaptureQueriesContext(connection) as seen:
            statistics(TODAY)
        assert len(seen) == 10


def test_an_empty_register() -> None:
    figures = statistics(TODAY)
    assert (figures.companies, figures.average_employees, figures.recently_founded) == (0, None, ())
    assert (figures.top_creator, figures.creator_with_most_employees, figures.raised_by_country) == (None, None, ())
    assert sum(quarter.companies for quarter in figures.founded_per_quarter) == 0


@pytest.mark.unit
@pytest.mark.parametrize(
    ("today", "first", "last"),
    [
        (dt.date(2026, 1, 1), dt.date(2021, 4, 1), dt.date(2026, 1, 1)),
        (dt.date(2025, 12, 31), dt.date(2021, 1, 1), dt.date(2025, 10, 1)),
    ],
)
def test_quarters_at_the_turn_of_the_year(today: dt.date, first: dt.date, last: dt.date) -> None:
    starts = list(services.quarter_starts(today))
    assert (starts[0], starts[-1], len(set(starts))) == (first, last, 20)


def test_monitoring_twice_is_once() -> None:
    user, company = User.objects.create_user("a"), Company.objects.create(name="A")
    for _ in range(2):
        services.monitor(company, user)
    assert list(company.monitors.all()) == [user]
    for _ in range(2):
        services.unmonitor(company, user)
    assert not company.monitors.exists()
