"""What forms refuse with a sentence, and what tables take nevertheless."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone
from syncline_companies.models import Company, Country, Deal, Employee

pytestmark = pytest.mark.django_db
FIXTURE = Path(__file__).parents[4] / "shared" / "data" / "companies-fixtures.json"


def refusals(instance: Company | Employee | Country | Deal) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        instance.full_clean()
    return caught.value.message_dict


def test_a_company_without_name_is_stored_but_refused_in_forms() -> None:
    company = Company.objects.create(name="")
    assert str(company) == f"Company {company.pk} (no name)"
    assert refusals(company) == {"name": ["Give the company a name: it is how people and other systems recognise it."]}


def test_a_future_date_of_foundation_is_refused_by_form_and_table() -> None:
    tomorrow = timezone.localdate() + dt.timedelta(days=1)
    (sentence,) = refusals(Company(name="Early", date_founded=tomorrow))["date_founded"]
    assert sentence.startswith("A company cannot be founded in the future: ")
    with pytest.raises(IntegrityError, match="companies_founded_in_past"), transaction.atomic():
        Company.objects.create(name="Early", date_founded=tomorrow)
    Company(name="Today", date_founded=timezone.localdate()).full_clean()


@pytest.mark.parametrize("website", ["example.co.uk", "https://www.example.com./a", "bücher.example", ""])
def test_websites_that_pass(website: str) -> None:
    Company(name="A", website=website).full_clean()


@pytest.mark.parametrize("website", ["n/a", "http://", "nowhere"])
def test_websites_that_do_not(website: str) -> None:
    (sentence,) = refusals(Company(name="A", website=website))["website"]
    assert website in sentence


def test_the_house_number_is_tidied_and_its_characters_checked() -> None:
    company = Company(name="A", companies_house_id="sc123456")
    company.full_clean()
    assert company.companies_house_id == "SC123456"
    assert "eight letters and digits" in refusals(Company(name="A", companies_house_id="12-3"))["companies_house_id"][0]
    assert "companies_house_id" in refusals(Company(name="A", companies_house_id="123456789"))


def test_an_email_is_unique_within_a_company_only() -> None:
    one, two = Company.objects.create(name="One"), Company.objects.create(name="Two")
    for company in (one, two):
        Employee.objects.create(company=company, name="Ann", email="a@b.example")
    Employee.objects.bulk_create([Employee(company=one, name="No e-mail") for _ in range(2)])
    assert refusals(Employee(company=one, name="Bea", email="a@b.example")) == {
        "__all__": ["This company has an employee with this e-mail already."]
    }
    with pytest.raises(IntegrityError, match="companies_employee_email"), transaction.atomic():
        Employee.objects.create(company=one, name="Bea", email="a@b.example")


def test_country_codes_are_short_and_unique() -> None:
    Country.objects.create(iso_code="TRY", name="Nicaragua")
    assert "iso_code" in refusals(Country(iso_code="TRY", name="Again"))
    assert "iso_code" in refusals(Country(iso_code="LONG", name="Long"))


def test_money_is_not_negative() -> None:
    assert "amount_raised" in refusals(Deal(company=Company.objects.create(name="A"), amount_raised=-1))


def test_there_is_no_migration_left_to_make() -> None:
    call_command("makemigrations", "companies", check=True, dry_run=True, verbosity=0)


def test_a_fixture_without_websites_and_with_time_stamps_loads(tmp_path: Path) -> None:
    stamps = {"created": "2018-05-02T23:43:07.605Z", "modified": "2018-05-02T23:43:07.606Z"}
    rows = [
        {"model": "companies.country", "pk": 1, "fields": {"iso_code": "TRY", "name": "Nicaragua"}},
        {
            "model": "companies.company",
            "pk": 1,
            "fields": {"companies_house_id": "", "name": "", "description": "", "country": 1, "creator": None, **stamps},
        },
        {"model": "companies.employee", "pk": 1, "fields": {"company": 1, "name": "A", "email": "A@b.example", **stamps}},
        {"model": "companies.deal", "pk": 1, "fields": {"company": 1, "amount_raised": 7627537.0, **stamps}},
    ]
    fixture = tmp_path / "register.json"
    fixture.write_text(json.dumps(rows))
    call_command("loaddata", str(fixture), verbosity=0)
    company = Company.objects.get()
    assert company.modified == dt.datetime(2018, 5, 2, 23, 43, 7, 606_000, dt.UTC)
    assert (company.website, company.employees.get().email_key) == ("", "a@b.example")
    assert str(company.deals.get().amount_raised) == "7627537.00"


def test_the_real_register_loads_as_it_is() -> None:
    if not FIXTURE.exists():
        pytest.skip(f"reference: put the register's fixture at {FIXTURE}")
    call_command("loaddata", str(FIXTURE), verbosity=0)
    counts = [model.objects.count() for model in (Country, Company, Deal, Employee)]
    assert counts == [5, 20, 215, 34]
    assert Company.objects.get(pk=1).created == dt.datetime(2018, 5, 2, 23, 43, 7, 605_000, dt.UTC)
