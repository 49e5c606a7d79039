"""Records are found by what another system says of them: none is missed, and none needs the whole table to be read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F, QuerySet
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from syncline.contract.normalise import NORMALISERS
from syncline_companies import finding
from syncline_companies.datasets import CompanyDataset, DealDataset, PersonDataset
from syncline_companies.models import Company, Employee

COMPANIES, PEOPLE, DEALS = CompanyDataset(), PersonDataset(), DealDataset()
NORMALISED_ALIKE = ("text", "exact", "email", "identifier")
SIGNS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from("aB .-ßÉéİıſﬁＡ\u0301\u00a0\t")
HOSTS = st.sampled_from([
    "acme.example", "ACME.Example", "www.acme.example", "www.www.acme.example", "bücher.example", "xn--bcher-kva.example",
    "straße.example", "ａｃｍｅ。example", "a_b.example", "acme.example.", "acme.example:80", "me@acme.example", "www.com",
])  # fmt: skip
WEBSITES = st.builds("{}{}{}{}".format, st.sampled_from(["", "http://", "HTTPS://", "//", " ", "x\n"]), HOSTS,
                     st.sampled_from(["", "/", "/a//b?c", "?x=1", "#y", " ", "/é"]), st.just(""))  # fmt: skip


def matching(field: str, normaliser: str, stored: str) -> set[str]:
    """What is asked for when another system holds the same."""
    value = NORMALISERS[normaliser](stored)
    rows = COMPANIES.find(field, [value])
    assert rows is not None
    return set(rows.values_list(field, flat=True)) if value else {stored}


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.text(SIGNS, min_size=1, max_size=12), st.text(SIGNS, max_size=8), WEBSITES)
@example("STRASSE \u212a", "ß1", "ac\nme.example")
def test_whatever_a_normaliser_makes_the_same_is_found(name: str, number: str, website: str) -> None:
    with transaction.atomic():
        Company.objects.create(name=name, companies_house_id=number, website=website)
        for normaliser in NORMALISED_ALIKE:
            assert name in matching("name", normaliser, name)
            assert number in matching("companies_house_id", normaliser, number)
        for normaliser in (*NORMALISED_ALIKE, "domain"):
            assert website in matching("website", normaliser, website)
        transaction.set_rollback(True)


@pytest.mark.unit
@pytest.mark.parametrize("normaliser", NORMALISED_ALIKE)
def test_no_normaliser_changes_the_visible_ascii_around_usual_signs(normaliser: str) -> None:
    odd, normalise = re.compile(finding.UNUSUAL), NORMALISERS[normaliser]
    visible = [chr(number) for number in range(ord("!"), ord("~") + 1)]
    for number in range(0x10000):  # those beyond are all odd
        if 0xD800 <= number <= 0xDFFF or odd.match(sign := chr(number)):
            continue
        text = sign.join(visible)
        assert finding.skeleton(normalise(text)) == finding.skeleton(text), f"U+{number:04X}"


@pytest.mark.django_db
def test_sql_and_python_see_the_same_signs_as_odd_and_make_the_same_skeletons() -> None:
    signs = [chr(number) for number in range(1, 0x3400)]
    Company.objects.bulk_create([Company(name=f"a{sign}B") for sign in signs])
    rows = Company.objects.annotate(simple=finding.in_sql(F("name"))).order_by("pk")
    assert list(rows.values_list("simple", flat=True)) == [finding.skeleton(f"a{sign}B") for sign in signs]
    odd = set(Company.objects.filter(finding.ODD_NAME).values_list("name", flat=True))
    assert odd == {f"a{sign}B" for sign in signs if re.match(finding.UNUSUAL, sign)}


@pytest.mark.django_db
def test_people_are_found_by_email_under_their_key() -> None:
    places = [Company.objects.create(name=name) for name in "AB"]
    first, *_ = [Employee.objects.create(company=place, name="Zoë", email=" Zoe@Example.com") for place in places]
    Employee.objects.create(company=places[0], name="Ann", email="ann@example.com")
    rows = PEOPLE.find("email", ["zoe@example.com"])
    assert rows is not None
    assert list(rows.values("id", "email")) == [{"id": first.pk, "email": "zoe@example.com"}]


@pytest.mark.django_db
def test_what_has_no_index_says_so_and_nothing_asked_is_nothing_found() -> None:
    Company.objects.create(name="\u6771")
    assert COMPANIES.find("description", ["x"]) is PEOPLE.find("name", ["x"]) is DEALS.find("name", ["x"]) is None
    assert [list(rows) for name in COMPANIES.found_by if (rows := COMPANIES.find(name, ())) is not None] == [[], [], []]


def explained(rows: QuerySet[Any]) -> str:
    """So few rows are soon read all; where no index helps, they are read all nevertheless."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    return rows.explain()


@pytest.mark.django_db
@pytest.mark.usefixtures("large_register")
class TestLarge:
    @pytest.mark.parametrize("field", ["name", "website", "companies_house_id"])
    def test_a_hundred_companies_are_found_along_indexes(self, field: str) -> None:
        values = list(Company.objects.exclude(**{field: ""}).values_list(field, flat=True)[:100])
        rows = COMPANIES.find(field, values)
        assert rows is not None
        assert "Seq Scan" not in explained(rows)
        assert 100 <= rows.count() < 1_000

    def test_a_hundred_people_are_found_along_indexes(self) -> None:
        values = list(Employee.objects.exclude(email_key=None).values_list("email_key", flat=True)[:100])
        rows = PEOPLE.find("email", [value for value in values if value])
        assert rows is not None
        assert "Seq Scan" not in explained(rows)
        assert 90 <= rows.count() <= 110
