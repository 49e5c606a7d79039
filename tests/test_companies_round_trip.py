"""What is written comes back: a record that was pulled is not pushed again because it was stored in another form."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from syncline.contract import Dataset, Field, Kind, LocalChange, Op, Property, Status, Value
from syncline.syncs.engine.canonical import canonical
from syncline_companies.datasets import CompanyDataset, DealDataset, PersonDataset
from syncline_companies.models import Company, Country, Employee
from syncline_companies.writing import names

COMPANIES, PEOPLE, DEALS = CompanyDataset(), PersonDataset(), DealDataset()
#: The fixtures hold what no example changes; each example takes back what it wrote.
examples = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
HARMLESS: Final = st.characters(exclude_categories=["Cs"], exclude_characters="\0")


def texts(longest: int, alphabet: st.SearchStrategy[str] = HARMLESS) -> st.SearchStrategy[str | None]:
    """Canonical ones: composed, and never empty."""
    composed = st.text(alphabet, max_size=longest).map(lambda text: unicodedata.normalize("NFC", text))
    return composed.map(lambda text: text[:longest] or None).filter(lambda text: text == nfc(text))


def nfc(text: str | None) -> str | None:
    return unicodedata.normalize("NFC", text) if text else None


LABEL = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)
DOMAIN = st.builds("{}.{}.example".format, LABEL, LABEL)
COMPANY = st.fixed_dictionaries(
    {},
    optional={
        "description": texts(300),
        "companies_house_id": texts(8, st.sampled_from("ABCXYZ0123456789")),
        "date_founded": st.none() | st.dates(max_value=dt.date(2026, 1, 1)).map(str),
        "country": st.sampled_from(["GB", "FR", None]),
        "website": st.none() | st.builds("{}{}/{}".format, st.sampled_from(["https://www.", "HTTP://", ""]), DOMAIN, LABEL),
    },
)
NAMES = texts(40, HARMLESS | st.sampled_from("aB \u00a0\t "))
PERSON = st.fixed_dictionaries(
    {"email": st.builds("{}@{}".format, LABEL, DOMAIN)},
    optional={
        "job_title": texts(200), "phone_number": texts(20), "gender": st.sampled_from(["M", "F", "O", None]), "name": NAMES,
    },
)  # fmt: skip


@pytest.fixture
def owner(db: None) -> User:
    for code, name in (("GB", "United Kingdom"), ("FR", "France")):
        Country.objects.create(iso_code=code, name=name)
    return User.objects.create_user("owner")


def canon(field: Field, value: object) -> Value:
    kind = Kind.SET if field.many else field.kind
    return canonical(Property(field.name, field.label, kind), value)


def read(dataset: Dataset, key: str | None, values: Mapping[str, Any]) -> dict[str, Value]:
    (row,) = dataset.rows(list(values)).filter(id=key).values(*values)
    fields = {name: dataset.info.field(name) for name in values}
    return {name: canon(field, row[name]) for name, field in fields.items() if field}


def comes_back(dataset: Dataset, owner: User, first: Mapping[str, Value], then: Mapping[str, Value]) -> None:
    """Created with the first values and changed to the others, both come back, and writing them again is no change."""
    with transaction.atomic():
        (made,) = dataset.write([LocalChange("t", Op.CREATE, None, first)], owner)
        assert made.status is Status.CREATED, made.error
        assert read(dataset, made.local_key, first) == first
        for expected in (None, Status.UNCHANGED):
            (changed,) = dataset.write([LocalChange("t", Op.UPDATE, made.local_key, then)], owner)
            assert changed.status in ({expected} if expected else {Status.UPDATED, Status.UNCHANGED}), changed.error
            assert read(dataset, made.local_key, {**first, **then}) == {**first, **then}
        transaction.set_rollback(True)


@examples
@given(COMPANY, COMPANY, texts(200).filter(lambda text: bool(text and text.strip())))
def test_a_company_comes_back_as_it_was_written(owner: User, first: dict[str, Value], then: dict[str, Value], name: str) -> None:
    comes_back(COMPANIES, owner, {**first, "name": name}, then)


@examples
@given(PERSON, PERSON)
def test_a_person_comes_back_as_written(owner: User, first: dict[str, Value], then: dict[str, Value]) -> None:
    places = tuple(str(Company.objects.create(name=name).pk) for name in "AB")
    comes_back(PEOPLE, owner, {**first, "companies": tuple(sorted(places))}, {**then, "companies": places[1:]})


PARTS = texts(30, HARMLESS | st.sampled_from("aB \u00a0\t ")).map(lambda text: (text or "").strip() or None)


@examples
@given(PARTS, PARTS, PARTS, PARTS)
def test_both_parts_of_a_name_come_back_without_white_space_around(
    owner: User, first: str | None, last: str | None, other_first: str | None, other_last: str | None
) -> None:
    """Lossy in one way only, which the documentation says: a no-break space in a first name becomes a space."""
    place = str(Company.objects.create(name="A").pk)
    email: dict[str, Value] = {"email": "a@x.example", "companies": (place,)}
    parts = {"first_name": tidy(first), "last_name": last}
    comes_back(PEOPLE, owner, {**email, **parts}, {"first_name": tidy(other_first), "last_name": other_last})
    comes_back(PEOPLE, owner, {**email, **parts}, {"last_name": other_last})


def tidy(first: str | None) -> str | None:
    return names.tidy_first((first or "").strip()).strip() or None


@examples
@given(st.text(HARMLESS | st.sampled_from("aB \u00a0\t "), max_size=40))
def test_sql_and_python_take_a_name_apart_alike(owner: User, name: str) -> None:
    job = Employee.objects.create(company=Company.objects.create(name="A"), name=name)
    (row,) = PEOPLE.rows(["first_name", "last_name"]).filter(id=job.pk).values("first_name", "last_name")
    assert (row["first_name"], row["last_name"]) == names.split(name)


@examples
@given(st.decimals(0, Decimal("9999999999999.99"), allow_nan=False), st.none() | st.dates().map(str))
def test_a_deal_comes_back_in_cents(owner: User, amount: Decimal, date: str | None) -> None:
    place = str(Company.objects.create(name="A").pk)
    values: dict[str, Value] = {"company": place, "amount_raised": amount, "date_of_deal": date}
    with transaction.atomic():
        (made,) = DEALS.write([LocalChange("t", Op.CREATE, None, values)], owner)
        cents = canonical(Property("", "", Kind.NUMBER), amount.quantize(Decimal("0.01"), ROUND_HALF_UP))
        assert read(DEALS, made.local_key, values) == {**values, "amount_raised": cents}
        (again,) = DEALS.write([LocalChange("t", Op.UPDATE, made.local_key, values)], owner)
        assert again.status is Status.UNCHANGED
        transaction.set_rollback(True)


def test_the_lossy_fields_come_back_in_the_form_the_register_keeps(owner: User) -> None:
    said: dict[str, Value] = {"name": "A", "companies_house_id": " sc1 ", "country": "gb", "country_name": "united KINGDOM"}
    (made,) = COMPANIES.write([LocalChange("t", Op.CREATE, None, said)], owner)
    kept: dict[str, Value] = {"name": "A", "companies_house_id": "SC1", "country": "GB", "country_name": "United Kingdom"}
    assert read(COMPANIES, made.local_key, said) == kept
    for values in (said, kept):
        (again,) = COMPANIES.write([LocalChange("t", Op.UPDATE, made.local_key, values)], owner)
        assert again.status is Status.UNCHANGED
