"""The admin: every page works, lists cost a fixed number of queries, and forms answer in sentences."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from syncline_companies.models import Company, Country, Deal, Employee

pytestmark = pytest.mark.django_db


def make(*numbers: int) -> None:
    for number in numbers:
        creator = User.objects.create_user(f"creator{number}")
        country = Country.objects.create(iso_code=f"C{number}", name=f"Country {number}")
        company = Company.objects.create(name=f"Company {number}", creator=creator, country=country)
        Employee.objects.create(company=company, name=f"Ann {number}", email=f"a{number}@b.example")
        Deal.objects.create(company=company, amount_raised=Decimal(1_234_567))


def queries(client: Client, address: str) -> int:
    client.get(address)  # fills what is cached
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


@pytest.mark.parametrize("model", ["company", "employee", "deal", "country"])
def test_a_list_costs_the_same_for_two_rows_and_for_twelve(admin_client: Client, model: str) -> None:
    address = reverse(f"admin:companies_{model}_changelist")
    make(1, 2)
    few = queries(admin_client, address)
    make(*range(3, 13))
    assert queries(admin_client, address) == few <= 8


def test_a_company_form_costs_the_same_for_one_employee_and_for_ten(admin_client: Client) -> None:
    make(1)
    company = Company.objects.get()
    company.monitors.add(User.objects.create_user("monitor"))
    address = reverse("admin:companies_company_change", args=[company.pk])
    few = queries(admin_client, address)
    for number in range(10):
        Employee.objects.create(company=company, name="B", email=f"b{number}@b.example")
        Deal.objects.create(company=company, amount_raised=number)
        company.monitors.add(User.objects.create_user(f"monitor{number}"))
    assert queries(admin_client, address) == few


def test_the_list_shows_counts_totals_and_companies_without_name(admin_client: Client) -> None:
    make(1)
    Company.objects.create(name=" ")
    page = admin_client.get(reverse("admin:companies_company_changelist")).content.decode()
    assert "1,234,567" in page
    assert "(no name)" in page
    assert '<td class="field-employee_count">0</td>' in page


@pytest.mark.parametrize(("asked", "found"), [("company 2", 1), ("SC00", 1), ("nothing", 0), ("two.example", 1)])
def test_search(admin_client: Client, asked: str, found: int) -> None:
    make(1, 2)
    Company.objects.filter(name="Company 2").update(companies_house_id="SC000002", website="two.example")
    page = admin_client.get(reverse("admin:companies_company_changelist"), {"q": asked})
    assert page.context["cl"].result_count == found


def test_filters(admin_client: Client, admin_user: User) -> None:
    make(1, 2)
    Company.objects.get(name="Company 1").monitors.add(admin_user)
    address = reverse("admin:companies_company_changelist")
    for asked, found in (({"monitored": "me"}, 1), ({"website__isempty": "1"}, 2), ({"country__id__exact": "0"}, 0)):
        assert admin_client.get(address, asked).context["cl"].result_count == found


def form(**values: Any) -> dict[str, Any]:
    management = {f"{p}-{n}": 0 for p in ("employees", "deals") for n in ("TOTAL_FORMS", "INITIAL_FORMS")}
    empty = {name: "" for name in ("name", "companies_house_id", "website", "description", "country", "date_founded", "creator")}
    return {**empty, **management, **values}


def test_adding_a_company_with_people_and_deals(admin_client: Client, admin_user: User) -> None:
    people = {"employees-TOTAL_FORMS": 1, "employees-0-name": "Ann", "employees-0-email": "ann@b.example"}
    deals = {"deals-TOTAL_FORMS": 1, "deals-0-amount_raised": "5"}
    sent = form(name="New", monitors=[admin_user.pk], creator=admin_user.pk, **people, **deals)
    answer = admin_client.post(reverse("admin:companies_company_add"), sent)
    assert answer.status_code == 302
    company = Company.objects.get(name="New")
    assert company.employees.get().email_key == "ann@b.example"
    assert company.deals.get().amount_raised == Decimal(5)
    assert list(company.monitors.all()) == [admin_user]


def test_a_new_company_is_offered_its_creator(admin_client: Client, admin_user: User) -> None:
    page = admin_client.get(reverse("admin:companies_company_add"))
    assert page.context["adminform"].form["creator"].value() == admin_user.pk


def test_a_form_without_name_or_from_the_future_answers_in_sentences(admin_client: Client) -> None:
    answer = admin_client.post(reverse("admin:companies_company_add"), form(date_founded="2999-01-01"))
    page = answer.content.decode()
    assert "Give the company a name" in page
    assert "A company cannot be founded in the future" in page
    assert not Company.objects.exists()


def test_a_person_without_permission_is_kept_out(client: Client) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    client.force_login(clerk)
    address = reverse("admin:companies_company_changelist")
    assert client.get(address).status_code == 403
    clerk.user_permissions.add(Permission.objects.get(codename="view_company"))
    assert client.get(address).status_code == 200
    assert client.get(reverse("admin:companies_company_add")).status_code == 403
