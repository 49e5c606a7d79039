"""The API: who may do what, what comes back, and at what cost."""

from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient
from syncline_companies.models import Company, Country, Deal, Employee

pytestmark = pytest.mark.django_db
COMPANIES = "/api/v1/companies/companies/"
MONITORED = "/api/v1/companies/monitored/"
STATISTICS = "/api/v1/companies/statistics/"
PAGE = "/api/v1/companies/statistics/page/"


@pytest.fixture
def user() -> User:
    return User.objects.create_user("ann")


@pytest.fixture
def api(user: User) -> APIClient:
    client = APIClient()
    client.force_authenticate(user)
    return client


@pytest.fixture
def company() -> Company:
    country = Country.objects.create(iso_code="GB", name="Britain")
    company = Company.objects.create(name="Acme", country=country, website="acme.example", companies_house_id="SC000001")
    Employee.objects.create(company=company, name="A")
    Deal.objects.create(company=company, amount_raised=5, date_of_deal=dt.date(2020, 1, 2))
    return company


def ids(answer: Any) -> list[int]:
    assert answer.status_code == 200, answer.content
    return [row["id"] for row in answer.json()["results"]]


class TestPermissions:
    @pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
    def test_strangers_may_do_nothing_with_companies(self, company: Company, method: str) -> None:
        for address in (COMPANIES, MONITORED, f"{COMPANIES}{company.pk}/", f"{COMPANIES}{company.pk}/monitor/"):
            assert getattr(APIClient(), method)(address).status_code == 401
        assert not company.monitors.exists()

    @pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
    def test_the_register_is_not_written_here(self, api: APIClient, company: Company, method: str) -> None:
        assert getattr(api, method)(f"{COMPANIES}{company.pk}/", {"name": "B"}).status_code == 405
        assert Company.objects.get().name == "Acme"

    @pytest.mark.parametrize("address", [STATISTICS, PAGE])
    def test_statistics_are_public_even_with_a_bad_token(self, address: str) -> None:
        client = APIClient(HTTP_AUTHORIZATION="Bearer spoilt")
        answer = client.get(address)
        assert answer.status_code == 200
        assert "max-age=60" in answer["Cache-Control"]


class TestCompanies:
    def test_one_with_its_figures(self, api: APIClient, company: Company) -> None:
        row = api.get(f"{COMPANIES}{company.pk}/").json()
        stamps = [row.pop("created"), row.pop("modified")]
        assert all(re.match(r"\d{4}-\d\d-\d\dT", stamp) for stamp in stamps)
        assert row == {
            "id": company.pk, "name": "Acme", "companies_house_id": "SC000001", "description": "", "date_founded": None,
            "country": "GB", "country_name": "Britain", "website": "acme.example", "total_raised": "5.00", "deal_count": 1,
            "last_deal_date": "2020-01-02", "employee_count": 1, "monitored": False,
        }  # fmt: skip

    def test_one_with_nothing(self, api: APIClient) -> None:
        bare = Company.objects.create(name="")
        row = api.get(f"{COMPANIES}{bare.pk}/").json()
        assert (row["country"], row["country_name"], row["total_raised"], row["deal_count"]) == (None, None, None, 0)

    @pytest.mark.parametrize("key", ["0", "x", "9" * 30])
    def test_unknown_ones(self, api: APIClient, key: str) -> None:
        assert api.get(f"{COMPANIES}{key}/").status_code == 404
        assert api.post(f"{COMPANIES}{key}/monitor/").status_code == 404

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ({"name": "acm"}, True), ({"name": "b"}, False), ({"country": "gb"}, True), ({"country": "FR"}, False),
            ({"companies_house_id": "SC000001"}, True), ({"companies_house_id": "SC"}, False), ({"has_website": "true"}, True),
            ({"has_website": "false"}, False), ({"founded_from": "2001-02-03", "founded_to": "2001-02-03"}, True),
            ({"founded_from": "2001-02-04"}, False), ({"founded_to": "2001-02-02"}, False),
        ],
    )  # fmt: skip
    def test_filters(self, api: APIClient, company: Company, asked: dict[str, str], found: bool) -> None:
        Company.objects.update(date_founded=dt.date(2001, 2, 3))
        assert ids(api.get(COMPANIES, asked)) == ([company.pk] if found else [])

    def test_a_filter_that_makes_no_sense_is_named(self, api: APIClient) -> None:
        answer = api.get(COMPANIES, {"founded_from": "yesterday"})
        assert answer.status_code == 400
        assert list(answer.json()) == ["founded_from"]

    def test_pages_follow_each_other_and_cost_the_same(self, api: APIClient) -> None:
        country = Country.objects.create(iso_code="GB", name="Britain")
        made = [Company.objects.create(name=f"C{number}", country=country).pk for number in range(25)]
        seen: list[int] = []
        address, costs = f"{COMPANIES}?page_size=10", []
        while address:
            with CaptureQueriesContext(connection) as queries:
                answer = api.get(address)
            costs.append(len(queries))
            seen += ids(answer)
            address = answer.json()["next"]
        assert seen == made
        assert costs == [1, 1, 1]


class TestMonitoring:
    def test_monitor_list_and_unmonitor(self, api: APIClient, company: Company, user: User) -> None:
        other = Company.objects.create(name="Other")
        other.monitors.add(User.objects.create_user("somebody else"))
        for _ in range(2):
            assert api.post(f"{COMPANIES}{company.pk}/monitor/").status_code == 204
        assert ids(api.get(MONITORED)) == [company.pk]
        assert api.get(f"{COMPANIES}{company.pk}/").json()["monitored"] is True
        assert api.get(f"{COMPANIES}{other.pk}/").json()["monitored"] is False
        for _ in range(2):
            assert api.delete(f"{COMPANIES}{company.pk}/monitor/").status_code == 204
        assert ids(api.get(MONITORED)) == []
        assert other.monitors.count() == 1

    def test_a_session_needs_the_csrf_token(self, company: Company, user: User) -> None:
        client = Client(enforce_csrf_checks=True)
        client.force_login(user)
        assert client.post(f"{COMPANIES}{company.pk}/monitor/").status_code == 403
        assert not company.monitors.exists()


class TestStatistics:
    def test_the_figures(self, company: Company) -> None:
        company.creator = User.objects.create_user("zoe@example.com")
        company.date_founded = dt.date(2020, 2, 29)
        company.save()
        answer = APIClient().get(STATISTICS)
        figures = answer.json()
        assert (figures["companies"], figures["employees"], figures["average_employees"]) == (1, 1, 1.0)
        assert figures["recently_founded"] == [
            {"id": company.pk, "name": "Acme", "date_founded": "2020-02-29", "country": "Britain"}
        ]
        assert len(figures["founded_per_quarter"]) == 20
        assert figures["top_creator"] == {"name": "zoe", "count": 1}
        assert figures["raised_by_country"][0]["average"] == 5.0
        assert b"example.com" not in answer.content

    def test_nothing_at_all(self) -> None:
        figures = APIClient().get(STATISTICS).json()
        assert (figures["average_employees"], figures["top_creator"], figures["raised_by_country"]) == (None, None, [])


class Elements(HTMLParser):
    """The elements of a page, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


class TestPage:
    def test_it_holds_the_figures_without_scripts(self, company: Company) -> None:
        company.date_founded = dt.date(2020, 2, 29)
        company.save()
        page = Client().get(PAGE).content.decode()
        assert "29 Feb 2020" in page
        assert page.count('<th scope="row">20') == 20
        assert '<th scope="row">Britain</th>' in page
        assert reverse("companies-statistics") in page

    def test_nothing_in_it_breaks_the_content_security_policy(self, company: Company) -> None:
        answer = Client().get(PAGE)
        assert "default-src 'self'" in answer["Content-Security-Policy"].split("; ")
        for tag, attributes in Elements(answer.content.decode()).found:
            assert tag != "style"
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert tag != "script" or "src" in attributes or attributes["type"] == "application/json"

    def test_an_empty_register_says_so(self) -> None:
        page = Client().get(PAGE).content.decode()
        assert "No companies yet" in page
        assert "<canvas" not in page

    def test_names_are_escaped(self, company: Company) -> None:
        Company.objects.update(name="<script>alert(1)</script>", date_founded=dt.date(2020, 1, 1))
        Country.objects.update(name="</script><script>alert(2)</script>")
        page = Client().get(PAGE).content.decode()
        assert "<script>alert" not in page


def test_the_schema_is_made_without_warning() -> None:
    GENERATOR_STATS.reset()
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    ours = {path for path in schema["paths"] if path.startswith("/api/v1/companies/")}
    assert ours == {COMPANIES, f"{COMPANIES}{{id}}/", f"{COMPANIES}{{id}}/monitor/", MONITORED, STATISTICS}
    said = [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    assert [sentence for sentence in said if "syncline_companies" in sentence] == []
