"""Companies and deals that pulls bring: created, changed, deleted or refused, a record at a time and in one go."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from syncline.contract import Code, Dataset, LocalChange, Op, Status, Value, Written
from syncline_companies.datasets import DATASETS, CompanyDataset, DealDataset
from syncline_companies.models import Company, Country, Deal, Employee
from syncline_companies.writing import tables

pytestmark = pytest.mark.django_db
COMPANIES, DEALS = CompanyDataset(), DealDataset()


@pytest.fixture
def owner() -> User:
    return User.objects.create_user("owner")


@pytest.fixture
def gb() -> Country:
    return Country.objects.create(iso_code="GB", name="United Kingdom")


@pytest.fixture
def acme(gb: Country) -> Company:
    return Company.objects.create(name="Acme", country=gb, website="acme.example")


def allow(user: User, *codenames: str) -> User:
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return User.objects.get(pk=user.pk)


def change(op: Op, key: object = None, token: str = "t", **values: Value) -> LocalChange:
    return LocalChange(token, op, None if key is None else str(key), values)


def write(dataset: Dataset, owner: User, *changes: LocalChange) -> list[Written]:
    return list(dataset.write(changes, owner))


def one(dataset: Dataset, owner: User, op: Op, key: object = None, **values: Value) -> Written:
    (written,) = write(dataset, owner, LocalChange("t", op, None if key is None else str(key), values))
    return written


def refusal(written: Written) -> tuple[Code, str | None]:
    assert written.status is Status.REJECTED
    assert written.error
    assert re.search(r"\w\. [A-Z].*\.$|here no more", written.error.message), "a cause and a next step"
    return written.error.code, written.error.property


class TestCompanies:
    def test_a_created_one_holds_every_value_and_belongs_to_the_owner(self, owner: User, gb: Country) -> None:
        values: Mapping[str, Value] = {
            "name": " Acme  Ltd ", "companies_house_id": " sc123456", "description": "Anvils", "date_founded": "2001-02-03",
            "country": "gb", "country_name": "united kingdom", "website": "https://www.acme.example/x",
        }  # fmt: skip
        written = one(COMPANIES, owner, Op.CREATE, **values)
        company = Company.objects.get()
        assert written == Written("t", Status.CREATED, str(company.pk))
        assert (company.name, company.companies_house_id, company.description) == (" Acme  Ltd ", "SC123456", "Anvils")
        assert (company.date_founded, company.country, company.creator) == (dt.date(2001, 2, 3), gb, owner)
        assert company.website == "https://www.acme.example/x"
        assert timezone.now() - company.created < dt.timedelta(minutes=1)
        assert company.created == company.modified

    def test_a_change_writes_only_what_is_given_and_says_when(self, owner: User, acme: Company) -> None:
        Company.objects.update(modified=acme.created - dt.timedelta(days=1))
        assert one(COMPANIES, owner, Op.UPDATE, acme.pk, name="Acme Ltd").status is Status.UPDATED
        company = Company.objects.get()
        assert (company.name, company.website, company.creator) == ("Acme Ltd", "acme.example", None)
        assert company.created == acme.created <= company.modified

    def test_the_same_values_touch_nothing(self, owner: User, acme: Company) -> None:
        before = Company.objects.values().get()
        same = one(COMPANIES, owner, Op.UPDATE, acme.pk, name="Acme", country_name="UNITED KINGDOM", description=None)
        assert same == Written("t", Status.UNCHANGED, str(acme.pk))
        assert Company.objects.values().get() == before

    def test_none_clears_what_may_be_empty(self, owner: User, acme: Company) -> None:
        Company.objects.update(description="x", date_founded=dt.date(2000, 1, 1), companies_house_id="1")
        fields = ("description", "date_founded", "companies_house_id", "website", "country", "country_name")
        assert one(COMPANIES, owner, Op.UPDATE, acme.pk, **dict.fromkeys(fields)).status is Status.UPDATED
        row = Company.objects.values(*fields[:4], "country_id").get()
        assert list(row.values()) == ["", None, "", "", None]

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("name", None, Code.REQUIRED),
            ("name", "  ", Code.REQUIRED),
            ("name", "x" * 201, Code.TOO_LONG),
            ("name", "a\0b", Code.INVALID_VALUE),
            ("website", "n/a", Code.INVALID_VALUE),
            ("website", "a.example/" + "x" * 200, Code.TOO_LONG),
            ("companies_house_id", "12-3", Code.INVALID_VALUE),
            ("companies_house_id", "123456789", Code.INVALID_VALUE),
            ("date_founded", (timezone.localdate() + dt.timedelta(days=2)).isoformat(), Code.INVALID_VALUE),
            ("date_founded", "soon", Code.INVALID_VALUE),
            ("country", "XX", Code.INVALID_VALUE),
            ("country", "United Kingdom", Code.INVALID_VALUE),
            ("country_name", "Atlantis", Code.INVALID_VALUE),
            ("total_raised", 5, Code.READ_ONLY),
            ("shoe_size", 5, Code.UNKNOWN_PROPERTY),
        ],
    )
    def test_what_the_forms_would_refuse_is_refused_alone(
        self, owner: User, acme: Company, field: str, value: Value, code: Code
    ) -> None:
        before = Company.objects.values().get()
        created, updated, other = write(
            COMPANIES,
            owner,
            LocalChange("a", Op.CREATE, None, {"name": "New", field: value}),
            LocalChange("b", Op.UPDATE, str(acme.pk), {"description": "new", field: value}),
            change(Op.CREATE, token="c", name="Other"),
        )
        assert refusal(created) == refusal(updated) == (code, field)
        assert (created.local_key, updated.local_key, other.status) == (None, str(acme.pk), Status.CREATED)
        assert Company.objects.filter(pk=acme.pk).values().get() == before
        assert list(Company.objects.exclude(pk=acme.pk).values_list("name", flat=True)) == ["Other"]

    def test_what_was_here_before_the_rules_is_not_judged_again(self, owner: User) -> None:
        old = Company.objects.create(name="", website="n/a")
        same = one(COMPANIES, owner, Op.UPDATE, old.pk, website="n/a", name=None, description="x")
        assert same.status is Status.UPDATED

    def test_text_in_another_unicode_form_is_the_same(self, owner: User) -> None:
        old = Company.objects.create(name="Cafe\u0301")
        assert one(COMPANIES, owner, Op.UPDATE, old.pk, name="Caf\u00e9").status is Status.UNCHANGED

    def test_a_country_is_found_by_name_or_code_and_its_two_fields_must_agree(self, owner: User, gb: Country) -> None:
        Country.objects.create(iso_code="FR", name="France")
        assert one(COMPANIES, owner, Op.CREATE, name="A", country_name="gb").status is Status.CREATED
        assert Company.objects.get().country == gb
        assert refusal(one(COMPANIES, owner, Op.CREATE, name="B", country="FR", country_name="United Kingdom")) == (
            Code.INVALID_VALUE,
            "country",
        )

    def test_a_country_of_an_ambiguous_name_is_kept_but_not_guessed(self, owner: User, acme: Company) -> None:
        Country.objects.create(iso_code="UK", name="United Kingdom")
        assert one(COMPANIES, owner, Op.UPDATE, acme.pk, country_name="United Kingdom").status is Status.UNCHANGED
        refused = one(COMPANIES, owner, Op.CREATE, name="B", country_name="United Kingdom")
        assert refusal(refused) == (Code.INVALID_VALUE, "country_name")

    def test_one_that_nothing_hangs_on_is_deleted_by_who_may(self, owner: User, acme: Company) -> None:
        acme.monitors.add(owner)
        assert refusal(one(COMPANIES, owner, Op.DELETE, acme.pk)) == (Code.OTHER, None)
        assert one(COMPANIES, allow(owner, "delete_company"), Op.DELETE, acme.pk).status is Status.UPDATED
        assert not Company.objects.exists()

    @pytest.mark.parametrize("model", [Deal, Employee])
    def test_one_with_people_or_deals_is_not_deleted(self, owner: User, acme: Company, model: Any) -> None:
        model.objects.create(company=acme, **({"amount_raised": 1} if model is Deal else {"name": "Ann"}))
        owner = allow(owner, "delete_company")
        assert refusal(one(COMPANIES, owner, Op.DELETE, acme.pk)) == (Code.OTHER, None)
        assert Company.objects.count() == model.objects.count() == 1


class TestDeals:
    def test_created_moved_rounded_and_deleted(self, owner: User, acme: Company) -> None:
        other = Company.objects.create(name="Other")
        made = one(DEALS, owner, Op.CREATE, company=str(acme.pk), amount_raised=Decimal("10.005"), date_of_deal="2020-01-31")
        deal = Deal.objects.get()
        assert (deal.company, deal.amount_raised, deal.date_of_deal) == (acme, Decimal("10.01"), dt.date(2020, 1, 31))
        assert one(DEALS, owner, Op.UPDATE, made.local_key, amount_raised=Decimal("10.009")).status is Status.UNCHANGED
        changed = one(DEALS, owner, Op.UPDATE, made.local_key, company=str(other.pk), date_of_deal=None)
        deal = Deal.objects.get()
        assert (changed.status, deal.company, deal.date_of_deal) == (Status.UPDATED, other, None)
        assert one(DEALS, allow(owner, "delete_deal"), Op.DELETE, made.local_key).status is Status.UPDATED
        assert not Deal.objects.exists()

    @pytest.mark.parametrize(
        ("values", "code", "field"),
        [
            ({"amount_raised": None}, Code.REQUIRED, "amount_raised"),
            ({"amount_raised": -1}, Code.INVALID_VALUE, "amount_raised"),
            ({"amount_raised": 10**13}, Code.INVALID_VALUE, "amount_raised"),
            ({"amount_raised": True}, Code.INVALID_VALUE, "amount_raised"),
            ({"company": None}, Code.REQUIRED, "company"),
            ({"company": "999999"}, Code.INVALID_VALUE, "company"),
            ({"company": "x"}, Code.INVALID_VALUE, "company"),
            ({"name": "Deal"}, Code.READ_ONLY, "name"),
        ],
    )
    def test_refused(self, owner: User, acme: Company, values: dict[str, Value], code: Code, field: str) -> None:
        deal = Deal.objects.create(company=acme, amount_raised=1)
        given: dict[str, Value] = {"company": str(acme.pk), "amount_raised": 1, **values}
        assert refusal(one(DEALS, owner, Op.CREATE, **given)) == (code, field)
        assert refusal(one(DEALS, owner, Op.UPDATE, deal.pk, **values)) == (code, field)
        assert Deal.objects.get().amount_raised == 1


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.info.key)
class TestEach:
    @pytest.mark.parametrize("key", ["999999", "x", "", "٣", "9" * 30, "0", "01"])
    def test_a_key_that_is_none_is_not_found(self, dataset: Dataset, owner: User, key: str) -> None:
        Company.objects.create(pk=1, name="One")
        Company.objects.create(pk=3, name="Three")
        for op in (Op.UPDATE, Op.DELETE):
            assert refusal(one(dataset, allow(owner, "delete_company"), op, key)) == (Code.NOT_FOUND, None)

    def test_two_changes_with_one_token_are_a_fault_of_the_host(self, dataset: Dataset, owner: User) -> None:
        with pytest.raises(ValueError, match="same token"):
            write(dataset, owner, change(Op.CREATE), change(Op.CREATE))

    def test_nothing_is_nothing(self, dataset: Dataset, owner: User) -> None:
        assert write(dataset, owner) == []

    def test_permissions_and_times_are_named_rightly(self, dataset: Dataset, owner: User) -> None:
        wanted = dataset.info.write_permissions
        assert len(wanted) == Permission.objects.filter(codename__in=[name.partition(".")[2] for name in wanted]).count() == 2
        assert dataset.info.field(dataset.info.modified)

    def test_what_is_required_is_writable(self, dataset: Dataset, owner: User) -> None:
        assert all(field.writable for field in dataset.info.fields if field.required)


class TestBatches:
    def test_changes_of_one_record_are_taken_in_their_order(self, owner: User, acme: Company) -> None:
        key, owner = acme.pk, allow(owner, "delete_company")
        answers = write(
            COMPANIES,
            owner,
            change(Op.UPDATE, key, "a", name="B"),
            change(Op.UPDATE, key, "b", name="B"),
            change(Op.UPDATE, key, "c", name="C"),
        )
        assert [answer.status for answer in answers] == [Status.UPDATED, Status.UNCHANGED, Status.UPDATED]
        assert Company.objects.get().name == "C"
        answers = write(
            COMPANIES, owner, change(Op.UPDATE, key, "a", name="D"), change(Op.DELETE, key, "b"), change(Op.UPDATE, key, "c")
        )
        assert [answer.status for answer in answers] == [Status.UPDATED, Status.UPDATED, Status.REJECTED]
        assert not Company.objects.exists()

    @pytest.mark.parametrize("size", [3, 600])
    def test_a_batch_takes_a_few_statements_whatever_its_size(self, owner: User, gb: Country, size: int) -> None:
        owner = allow(owner, "delete_company")
        there = Company.objects.bulk_create([Company(name=f"Old {n}") for n in range(size)])
        gone = Company.objects.bulk_create([Company(name="Gone") for _ in range(size)])
        changes = [
            *(change(Op.CREATE, token=f"c{n}", name=f"New {n}", country="GB") for n in range(size)),
            *(change(Op.UPDATE, old.pk, f"u{old.pk}", name=f"Changed {old.pk}") for old in there),
            *(change(Op.DELETE, old.pk, f"d{old.pk}") for old in gone),
        ]
        with CaptureQueriesContext(connection) as queries:
            answers = write(COMPANIES, owner, *changes)
        # Django deletes by the hundred.
        assert len(queries) <= 14 + size // 100, [str(query["sql"])[:90] for query in queries]
        assert [answer.token for answer in answers] == [each.token for each in changes]
        assert {answer.status for answer in answers} == {Status.CREATED, Status.UPDATED}
        titles = COMPANIES.title([answer.local_key or "" for answer in answers])
        assert titles == {
            answer.local_key: f"New {answer.token[1:]}" if answer.token[0] == "c" else f"Changed {answer.local_key}"
            for answer in answers
            if answer.token[0] != "d"
        }

    def test_a_row_made_from_a_blank_one_shares_nothing_with_it(self, owner: User, gb: Country) -> None:
        blank = Company(creator_id=owner.pk)
        first, second = tables.copied(blank), tables.copied(blank)
        first.name, first.country = "First", gb

        assert (second.name, second.country, second.creator) == ("", None, owner)
        assert (blank.name, blank.country_id) == ("", None)
        first.save()
        assert second._state.adding
        assert Company.objects.get().creator == owner
