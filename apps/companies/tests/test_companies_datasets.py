"""What the datasets offer, on rows small enough to check by eye, and that reading them stays cheap."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext
from syncline.contract import ConfigError, Dataset
from syncline_companies.datasets import DATASETS, CompanyDataset, DealDataset, PersonDataset
from syncline_companies.models import Company, Country, Deal, Employee

pytestmark = pytest.mark.django_db
COMPANIES, PEOPLE, DEALS = CompanyDataset(), PersonDataset(), DealDataset()


def all_fields(dataset: Dataset) -> list[str]:
    return [field.name for field in dataset.info.fields]


def read(dataset: Dataset, *fields: str, **segment: Any) -> list[dict[str, Any]]:
    names = fields or all_fields(dataset)
    return list(dataset.rows(names, **segment).values("id", *names).order_by("id"))


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner", "Owner@example.com")


@pytest.fixture
def acme(owner: User) -> Company:
    country = Country.objects.create(iso_code="GB", name="United Kingdom")
    company = Company.objects.create(
        name="Acme Ltd", country=country, creator=owner, website="acme.co.uk", date_founded=dt.date(2001, 2, 3)
    )
    company.monitors.add(owner, User.objects.create_user("other"))
    Deal.objects.create(company=company, date_of_deal=dt.date(2020, 1, 5), amount_raised=Decimal("100.50"))
    Deal.objects.create(company=company, date_of_deal=None, amount_raised=Decimal("9.50"))
    for number in range(3):
        Employee.objects.create(company=company, name="Ann  Lee Smith", email=f"ann{number}@acme.co.uk")
    return company


@pytest.fixture
def bare() -> Company:
    return Company.objects.create(name="")


class TestCompanies:
    def test_every_field_of_a_full_company(self, acme: Company) -> None:
        (row,) = read(COMPANIES)
        assert row == {
            "id": acme.pk, "name": "Acme Ltd", "companies_house_id": "", "description": "", "date_founded": dt.date(2001, 2, 3),
            "country": "GB", "country_name": "United Kingdom", "website": "acme.co.uk", "creator_email": "Owner@example.com",
            "created": acme.created, "modified": acme.modified, "total_raised": Decimal("110.00"), "deal_count": 2,
            "last_deal_date": dt.date(2020, 1, 5), "employee_count": 3,
        }  # fmt: skip

    def test_a_company_with_nothing_has_zero_counts_and_no_values(self, bare: Company) -> None:
        (row,) = read(COMPANIES)
        assert (row["name"], row["deal_count"], row["employee_count"]) == ("", 0, 0)
        empty = ("date_founded", "country", "country_name", "creator_email", "total_raised", "last_deal_date")
        assert [row[name] for name in empty] == [None] * 6

    def test_an_aggregate_is_computed_only_when_asked_for(self) -> None:
        assert "SUM(" not in str(COMPANIES.rows(["name", "deal_count"]).query)
        assert "SUM(" in str(COMPANIES.rows(["total_raised"]).query)

    def test_owner_sees_what_the_owner_monitors(self, acme: Company, bare: Company, owner: User) -> None:
        assert [row["id"] for row in read(COMPANIES, "name", segment="monitored", owner=owner)] == [acme.pk]

    def test_title_in_one_query_and_only_for_known_keys(self, acme: Company, bare: Company) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            titles = COMPANIES.title([str(acme.pk), str(bare.pk), "99999999", "x"])
        assert titles == {str(acme.pk): "Acme Ltd", str(bare.pk): "(no name)"}
        assert len(queries) == 1


class TestPeople:
    @pytest.fixture(autouse=True)
    def people(self, acme: Company, bare: Company) -> None:
        Employee.objects.all().delete()
        self.acme, self.bare = acme, bare
        self.first = Employee.objects.create(company=bare, name="Zoë de Vries", email=" Zoe@Example.com", gender="F")
        self.second = Employee.objects.create(company=acme, name="Z. de Vries", email="zoe@example.com", job_title="Owner")
        self.nameless = [Employee.objects.create(company=acme, name=name) for name in ("Cher", "", "  Jo   Ann Lee ")]

    def test_a_person_with_two_jobs_is_one_row(self) -> None:
        row = read(PEOPLE)[0]
        assert row["id"] == self.first.pk
        assert (row["first_name"], row["last_name"], row["email"]) == ("Zoë", "de Vries", "zoe@example.com")
        assert sorted(row["companies"]) == sorted([str(self.acme.pk), str(self.bare.pk)])
        assert self.second.pk not in [row["id"] for row in read(PEOPLE)]

    def test_two_jobs_at_one_company_name_it_once(self) -> None:
        Employee.objects.create(company=self.acme, name="Z", email="ZOE@example.com")
        assert len(read(PEOPLE, "companies")[0]["companies"]) == 2

    def test_without_email_every_job_is_a_person(self) -> None:
        rows = read(PEOPLE)[1:]
        assert [row["id"] for row in rows] == [job.pk for job in self.nameless]
        assert [row["companies"] for row in rows] == [[str(self.acme.pk)]] * 3
        assert [(row["first_name"], row["last_name"]) for row in rows] == [("Cher", ""), ("", ""), ("Jo", "Ann Lee")]
        assert [row["email"] for row in rows] == [""] * 3

    def test_record_key_is_the_first_job(self) -> None:
        assert PEOPLE.record_key(self.second) == PEOPLE.record_key(self.first) == str(self.first.pk)
        assert PEOPLE.record_key(self.nameless[0]) == str(self.nameless[0].pk)

    def test_monitored_people_are_known_by_their_first_job_elsewhere(self, owner: User) -> None:
        keys = [row["id"] for row in read(PEOPLE, "name", segment="monitored", owner=owner)]
        assert keys == [self.first.pk, *[job.pk for job in self.nameless]]

    def test_title(self) -> None:
        assert PEOPLE.title([str(self.first.pk)]) == {str(self.first.pk): "Zoë de Vries"}


class TestDeals:
    def test_named_after_company_and_date(self, acme: Company) -> None:
        dated, undated = read(DEALS)
        assert (dated["name"], dated["company"]) == ("Acme Ltd 2020-01-05", str(acme.pk))
        assert (undated["name"], undated["date_of_deal"]) == ("Acme Ltd", None)
        assert DEALS.title([str(dated["id"])]) == {str(dated["id"]): "Acme Ltd 2020-01-05"}

    def test_monitored(self, acme: Company, bare: Company, owner: User) -> None:
        Deal.objects.create(company=bare, amount_raised=1)
        assert len(read(DEALS, segment="monitored", owner=owner)) == 2
        assert len(read(DEALS)) == 3


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.info.key)
class TestEach:
    def test_unknown_segment_is_refused_by_name(self, dataset: Dataset) -> None:
        with pytest.raises(ConfigError, match="no segment 'vip'"):
            dataset.rows(["id"], "vip")

    def test_owner_is_demanded(self, dataset: Dataset) -> None:
        with pytest.raises(ConfigError, match="needs an owner"):
            dataset.rows(["id"], "monitored")

    def test_titles_of_no_keys(self, dataset: Dataset) -> None:
        assert dataset.title([]) == {}

    def test_references_name_a_dataset_of_ours(self, dataset: Dataset) -> None:
        known = {each.info.key for each in DATASETS}
        assert {field.reference for field in dataset.info.fields if field.reference} <= known


def explained(rows: QuerySet[Any]) -> str:
    return rows.explain(analyze=True, costs=False, timing=False, summary=False)


@pytest.mark.usefixtures("large_register")
class TestLarge:
    @pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.info.key)
    def test_a_chunk_is_read_along_indexes(self, dataset: Dataset) -> None:
        fields = all_fields(dataset)
        rows = dataset.rows(fields).values("id", *fields)
        plan = explained(rows.filter(id__gt=2_000).order_by("id")[:500])
        assert "Sort Key: companies_" not in plan.split("SubPlan")[0]  # rows come in order, none is sorted
        scans = [line for line in plan.splitlines() if "Seq Scan" in line]
        small = ("on companies_country", "on auth_user")
        assert [line for line in scans if not any(table in line for table in small)] == [], plan

    def test_reading_by_chunks_gives_every_person_once(self) -> None:
        last, seen = 0, []
        while chunk := list(PEOPLE.rows(["email"]).values("id", "email").filter(id__gt=last).order_by("id")[:1_000]):
            seen += chunk
            last = chunk[-1]["id"]
        emails = [row["email"] for row in seen if row["email"]]
        assert len(emails) == len(set(emails)) == Employee.objects.exclude(email_key=None).values("email_key").distinct().count()
        assert len(seen) - len(emails) == Employee.objects.filter(email="").count() > 0
