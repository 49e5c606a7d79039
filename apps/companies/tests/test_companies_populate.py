"""The made-up register: repeatable, as large as wanted, and as untidy as real ones."""

from __future__ import annotations

import hashlib
from collections import Counter
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import Count
from django.utils import timezone
from syncline.contract.normalise import domain
from syncline_companies.models import Company, Country, Deal, Employee
from syncline_companies.sample import invent, load

pytestmark = pytest.mark.django_db
SIZE = 6_000


def populate(*arguments: str) -> str:
    out = StringIO()
    call_command("populate_database", *arguments, stdout=out)
    return out.getvalue()


def digest() -> str:
    """Of everything that was made, keys included."""
    total = hashlib.sha256()
    for model, columns in load.COLUMNS.items():
        for row in model._default_manager.order_by("pk").values_list(*columns):
            total.update(repr(row).encode())
    return total.hexdigest()


class TestCommand:
    def test_the_same_seed_gives_the_same_rows(self) -> None:
        populate("--companies", "2500", "--seed", "7")
        first = digest()
        populate("--companies", "2500", "--seed", "7", "--clear")
        assert digest() == first
        populate("--companies", "2500", "--seed", "8", "--clear")
        assert digest() != first

    def test_a_longer_register_begins_with_the_shorter_one(self) -> None:
        populate("--companies", "2000")
        short = list(Company.objects.order_by("id").values_list("id", "name", "website", "created"))
        populate("--companies", "2300", "--clear")
        assert list(Company.objects.order_by("id").values_list("id", "name", "website", "created")[:2000]) == short

    def test_again_without_clear_adds_other_companies(self) -> None:
        populate("--companies", "300")
        populate("--companies", "200")
        assert Company.objects.count() == 500
        assert (
            Company.objects.exclude(companies_house_id="")
            .values("companies_house_id")
            .annotate(n=Count("*"))
            .filter(n__gt=1)
            .count()
            == 0
        )
        assert Company.objects.create(name="Next").pk == 501

    def test_clear_leaves_users_and_countries(self) -> None:
        populate("--companies", "50")
        load.clear()
        assert not any(model._default_manager.exists() for model in load.COLUMNS)
        assert (User.objects.count(), Country.objects.exists()) == (10, True)

    def test_nobody_made_here_can_log_in(self) -> None:
        populate("--companies", "50")
        assert [user.has_usable_password() for user in User.objects.all()] == [False] * 10

    def test_reports_what_it_made(self) -> None:
        assert populate("--companies", "50", "--employees-per-company", "0").startswith("Done: 50 companies, 0 employees, ")

    def test_says_nothing_when_asked_to_be_quiet(self) -> None:
        assert populate("--companies", "50", "--verbosity", "0") == ""

    @pytest.mark.parametrize(
        ("argument", "value", "sentence"),
        [
            ("--companies", "none", "'none' is not a number of companies"),
            ("--companies", "0", "give one of at least 1"),
            ("--companies", "99999999", "99,999,999 more after 0 are too many"),
            ("--employees-per-company", "-1", "'-1' is not an average"),
            ("--deals-per-company", "nan", "'nan' is not an average"),
        ],
    )
    def test_wrong_arguments_are_named(self, argument: str, value: str, sentence: str) -> None:
        with pytest.raises(CommandError, match=sentence):
            populate(f"{argument}={value}")


def share(count: int) -> float:
    return count / SIZE


@pytest.mark.usefixtures("large_register")
class TestRealism:
    def test_websites_are_missing_shared_and_spelt_in_many_ways(self) -> None:
        sites = list(Company.objects.values_list("website", flat=True))
        assert 0.08 < share(sites.count("")) < 0.12
        domains = Counter(domain(site) for site in sites if domain(site))
        assert 0.007 < share(sum(count for count in domains.values() if count > 1)) < 0.014
        for sign in ("https://www.", "http://", "HTTP://", "www."):
            assert any(site.startswith(sign) for site in sites)
        assert any(site.endswith("/") for site in sites)
        assert any(site.endswith(".") for site in sites)

    def test_names_have_duplicates_accents_and_very_few_gaps(self) -> None:
        names = Counter(Company.objects.values_list("name", flat=True))
        assert names.pop("", 0) <= SIZE / 2_000
        assert 0.005 < share(sum(count for count in names.values() if count > 1)) < 0.02
        assert 0.02 < share(sum(not name.isascii() for name in names)) < 0.2

    def test_numbers_of_companies_house(self) -> None:
        numbers = Company.objects.exclude(companies_house_id="").values_list("companies_house_id", flat=True)
        assert 0.77 < share(len(numbers)) < 0.83
        assert len(set(numbers)) == len(numbers)
        assert {len(number) for number in numbers} == {8}

    def test_dates_and_creators_are_sometimes_missing_and_never_ahead(self) -> None:
        assert 0.03 < share(Company.objects.filter(date_founded=None).count()) < 0.07
        assert 0.05 < share(Company.objects.filter(creator=None).count()) < 0.11
        assert not Company.objects.filter(date_founded__gt=timezone.localdate()).exists()
        assert not Company.objects.filter(modified__gt=timezone.now()).exists()

    def test_people_are_as_many_as_asked_and_some_have_two_jobs(self) -> None:
        jobs = Employee.objects.count()
        assert 1.1 < jobs / SIZE < 1.3
        several = (
            Employee.objects.exclude(email_key=None).values("email_key").annotate(at=Count("company", distinct=True)).filter(at=2)
        )
        assert 0.01 < several.count() / jobs < 0.03
        assert 0.005 < Employee.objects.filter(email="").count() / jobs < 0.015
        assert Employee.objects.filter(email__regex="[A-Z]").exists()

    def test_monitors_and_deals(self) -> None:
        monitored = Company.objects.filter(monitors__isnull=False).distinct().count()
        assert 0.08 < share(monitored) < 0.12
        assert 0.9 < Deal.objects.count() / SIZE < 1.1

    def test_most_rows_pass_the_forms(self) -> None:
        wrong = Employee.objects.exclude(phone_number__regex=r"^(\+44 |0)[0-9 ]{9,}$").exclude(phone_number="")
        assert not wrong.exists()
        for company in Company.objects.exclude(name="").exclude(website="n/a")[:50]:
            company.full_clean()


@pytest.mark.unit
def test_no_two_companies_have_one_name_domain_or_number() -> None:
    step = 1_499  # across the whole range, beyond the point where names begin again
    numbers = range(1, invent.LARGEST, step)
    assert len({invent.name_and_domain(number)[0] for number in numbers}) == len(numbers)
    assert len({invent.name_and_domain(number)[1] for number in numbers}) == len(numbers)
    assert len({invent.house_number(number) for number in numbers}) == len(numbers)


def test_the_sequence_goes_on_after_copied_rows() -> None:
    load.load(20)
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_value FROM companies_company_id_seq")
        assert cursor.fetchone() == (20,)
