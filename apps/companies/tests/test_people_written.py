"""People that pulls bring: every change is one of all their jobs, and nobody is lost, doubled or torn apart."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from syncline.contract import Code, LocalChange, Op, Status, Value, Written
from syncline_companies.datasets import PersonDataset
from syncline_companies.models import Company, Employee

pytestmark = pytest.mark.django_db
PEOPLE = PersonDataset()


@pytest.fixture
def owner() -> User:
    user = User.objects.create_user("owner")
    user.user_permissions.add(Permission.objects.get(codename="delete_employee"))
    return user


@pytest.fixture
def places() -> list[Company]:
    return [Company.objects.create(name=name) for name in "ABCD"]


@pytest.fixture
def zoe(places: list[Company]) -> list[Employee]:
    a, b, *_ = places
    return [
        Employee.objects.create(company=a, name="Zoë de Vries", email=" Zoe@Example.com", job_title="Owner", gender="F"),
        Employee.objects.create(company=b, name="Z. de Vries", email="zoe@example.com", job_title="Adviser"),
    ]


def change(op: Op, key: object = None, token: str = "t", **values: Value) -> LocalChange:
    return LocalChange(token, op, None if key is None else str(key), values)


def one(owner: User, op: Op, key: object = None, **values: Value) -> Written:
    (written,) = PEOPLE.write([LocalChange("t", op, None if key is None else str(key), values)], owner)
    return written


def refusal(written: Written) -> tuple[Code, str | None]:
    assert written.status is Status.REJECTED
    assert written.error
    return written.error.code, written.error.property


def keys(*places: Company) -> tuple[str, ...]:
    return tuple(sorted(str(place.pk) for place in places))


def row(key: object, *fields: str) -> dict[str, Any]:
    names = fields or ("name", "email", "job_title", "gender", "phone_number", "companies", "first_name", "last_name")
    (found,) = PEOPLE.rows(names).filter(id=key).values(*names)
    return dict(found)


class TestCreated:
    def test_a_person_has_a_job_in_each_company_and_one_key(self, owner: User, places: list[Company]) -> None:
        a, b, *_ = places
        written = one(
            owner, Op.CREATE, email="ann@x.example", first_name="Ann", last_name="Lee", companies=keys(a, b),
            job_title="Buyer", gender="F", phone_number="020 7946 0000",
        )  # fmt: skip
        assert written == Written("t", Status.CREATED, str(Employee.objects.order_by("pk")[0].pk))
        assert row(written.local_key) == {
            "name": "Ann Lee", "first_name": "Ann", "last_name": "Lee", "email": "ann@x.example", "job_title": "Buyer",
            "gender": "F", "phone_number": "020 7946 0000", "companies": list(keys(a, b)),
        }  # fmt: skip
        assert Employee.objects.count() == 2
        assert PEOPLE.rows(["id"]).count() == 1

    def test_an_email_is_enough_of_a_name(self, owner: User, places: list[Company]) -> None:
        assert one(owner, Op.CREATE, email="ann@x.example", companies=keys(places[0])).status is Status.CREATED
        assert refusal(one(owner, Op.CREATE, job_title="Boss", companies=keys(places[0]))) == (Code.REQUIRED, "name")

    @pytest.mark.parametrize(
        ("values", "code", "field"),
        [
            ({"companies": None}, Code.REQUIRED, "companies"),
            ({"companies": ("999999",)}, Code.INVALID_VALUE, "companies"),
            ({"email": "no address"}, Code.INVALID_VALUE, "email"),
            ({"email": "a" * 250 + "@x.example"}, Code.TOO_LONG, "email"),
            ({"gender": "Female"}, Code.INVALID_CHOICE, "gender"),
            ({"phone_number": "0" * 21}, Code.TOO_LONG, "phone_number"),
            ({"first_name": "a" * 100, "last_name": "b" * 100}, Code.TOO_LONG, "first_name"),
            ({"last_name": "a\0b"}, Code.INVALID_VALUE, "last_name"),
            ({"name": "Ann Lee", "first_name": "Bea"}, Code.INVALID_VALUE, "first_name"),
        ],
    )
    def test_refused_when_new_and_when_changed(
        self, owner: User, places: list[Company], zoe: list[Employee], values: dict[str, Value], code: Code, field: str
    ) -> None:
        before = list(Employee.objects.order_by("pk").values())
        given: dict[str, Value] = {"email": "ann@x.example", "companies": keys(places[0]), **values}
        assert refusal(one(owner, Op.CREATE, **given)) == (code, field)
        assert refusal(one(owner, Op.UPDATE, zoe[0].pk, job_title="New", **values)) == (code, field)
        assert list(Employee.objects.order_by("pk").values()) == before

    def test_without_company_there_is_no_person(self, owner: User) -> None:
        assert refusal(one(owner, Op.CREATE, name="Ann", email="ann@x.example")) == (Code.REQUIRED, "companies")

    def test_without_email_there_is_one_job_only(self, owner: User, places: list[Company]) -> None:
        assert refusal(one(owner, Op.CREATE, name="Ann", companies=keys(*places))) == (Code.REQUIRED, "email")
        made = one(owner, Op.CREATE, name="Ann", companies=keys(places[0]))
        assert refusal(one(owner, Op.UPDATE, made.local_key, companies=keys(*places))) == (Code.REQUIRED, "email")
        assert one(owner, Op.UPDATE, made.local_key, companies=keys(*places), email="a@x.example").status is Status.UPDATED
        assert row(made.local_key, "companies")["companies"] == list(keys(*places))

    def test_an_email_belongs_to_one_person(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        clash = one(owner, Op.CREATE, name="Z", email="zoe@example.com", companies=keys(places[2]))
        assert refusal(clash) == (Code.CONFLICT, "email")
        assert clash.error
        assert (clash.error.existing_id, clash.local_key) == (str(zoe[0].pk), None)
        assert Employee.objects.count() == 2

    def test_two_of_one_batch_with_one_email_are_one_and_a_conflict(self, owner: User, places: list[Company]) -> None:
        made, clash = PEOPLE.write(
            [change(Op.CREATE, token=token, email="a@x.example", companies=keys(places[0])) for token in "ab"], owner
        )
        assert made.status is Status.CREATED
        assert refusal(clash) == (Code.CONFLICT, "email")
        assert clash.error
        assert clash.error.existing_id == made.local_key


class TestChanged:
    def test_all_jobs_change_but_titles_stay_those_of_their_jobs(self, owner: User, zoe: list[Employee]) -> None:
        values: dict[str, Value] = {
            "name": "Zoë Smith", "job_title": "Chair", "gender": "O", "phone_number": "1", "email": "zoe@smith.example"
        }  # fmt: skip
        assert one(owner, Op.UPDATE, zoe[0].pk, **values).status is Status.UPDATED
        jobs = Employee.objects.order_by("pk").values_list("name", "job_title", "gender", "phone_number", "email_key")
        assert list(jobs) == [
            ("Zoë Smith", "Chair", "O", "1", "zoe@smith.example"),
            ("Zoë Smith", "Adviser", "O", "1", "zoe@smith.example"),
        ]

    def test_a_title_that_all_jobs_share_changes_in_all(self, owner: User, zoe: list[Employee]) -> None:
        Employee.objects.update(job_title="Owner")
        one(owner, Op.UPDATE, zoe[0].pk, job_title="Chair")
        assert set(Employee.objects.values_list("job_title", flat=True)) == {"Chair"}

    def test_what_the_row_says_touches_nothing(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        before = list(Employee.objects.order_by("pk").values())
        same = one(
            owner, Op.UPDATE, zoe[0].pk, name="Zoë de Vries", first_name="Zoë", last_name="de Vries", email="zoe@example.com",
            job_title="Owner", phone_number=None, companies=keys(*places[:2]),
        )  # fmt: skip
        assert same == Written("t", Status.UNCHANGED, str(zoe[0].pk))
        assert list(Employee.objects.order_by("pk").values()) == before

    def test_a_part_of_the_name_leaves_the_other(self, owner: User, zoe: list[Employee]) -> None:
        one(owner, Op.UPDATE, zoe[0].pk, last_name="Smith Jones")
        one(owner, Op.UPDATE, zoe[0].pk, first_name="Zoë Maria")
        assert row(zoe[0].pk, "first_name", "last_name") == {"first_name": "Zoë Maria", "last_name": "Smith Jones"}
        one(owner, Op.UPDATE, zoe[0].pk, first_name=None)
        assert row(zoe[0].pk, "first_name", "last_name") == {"first_name": "", "last_name": "Smith Jones"}
        assert PEOPLE.title([str(zoe[0].pk)]) == {str(zoe[0].pk): "Smith Jones"}

    def test_an_untidy_name_is_left_alone_while_its_parts_stay(self, owner: User, places: list[Company]) -> None:
        job = Employee.objects.create(company=places[0], name="  Jo   Ann Lee ")
        assert one(owner, Op.UPDATE, job.pk, first_name="Jo", last_name="Ann Lee").status is Status.UNCHANGED

    def test_the_email_of_another_person_is_not_taken(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        job = Employee.objects.create(company=places[2], name="Ann", email="ann@x.example")
        clash = one(owner, Op.UPDATE, job.pk, email="zoe@example.com", name="New")
        assert refusal(clash) == (Code.CONFLICT, "email")
        assert clash.error
        assert (clash.local_key, clash.error.existing_id) == (str(job.pk), str(zoe[0].pk))
        assert Employee.objects.get(pk=job.pk).name == "Ann"

    def test_an_email_given_up_is_free_for_the_next(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        job = Employee.objects.create(company=places[2], name="Ann", email="ann@x.example")
        answers = PEOPLE.write(
            [
                change(Op.UPDATE, zoe[0].pk, "a", email="zoe@new.example"),
                change(Op.UPDATE, job.pk, "b", email="zoe@example.com"),
            ],
            owner,
        )
        assert [answer.status for answer in answers] == [Status.UPDATED, Status.UPDATED]
        assert row(job.pk, "email", "companies") == {"email": "zoe@example.com", "companies": list(keys(places[2]))}

    def test_the_email_of_several_jobs_is_not_cleared_that_of_one_is(
        self, owner: User, places: list[Company], zoe: list[Employee]
    ) -> None:
        assert refusal(one(owner, Op.UPDATE, zoe[0].pk, email=None)) == (Code.REQUIRED, "email")
        assert one(owner, Op.UPDATE, zoe[0].pk, email=None, companies=keys(places[0])).status is Status.UPDATED
        assert row(zoe[0].pk, "email", "companies") == {"email": "", "companies": list(keys(places[0]))}

    def test_two_jobs_in_one_company_keep_their_email(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        Employee.objects.create(company=places[0], name="Z", email="ZOE@example.com")
        assert refusal(one(owner, Op.UPDATE, zoe[0].pk, email="new@x.example")) == (Code.OTHER, "email")
        assert one(owner, Op.UPDATE, zoe[0].pk, phone_number="1").status is Status.UPDATED
        assert Employee.objects.filter(phone_number="1").count() == 3

    def test_a_job_that_is_not_the_first_names_the_person(self, owner: User, zoe: list[Employee]) -> None:
        wrong = one(owner, Op.UPDATE, zoe[1].pk, name="X")
        assert refusal(wrong) == (Code.NOT_FOUND, None)
        assert wrong.error
        assert wrong.error.existing_id == str(zoe[0].pk)


class TestJobs:
    def test_a_company_more_is_a_job_more_and_the_person_was_modified(
        self, owner: User, places: list[Company], zoe: list[Employee]
    ) -> None:
        early = zoe[0].created - dt.timedelta(days=1)
        Employee.objects.update(modified=early)
        assert one(owner, Op.UPDATE, zoe[0].pk, companies=keys(*places[:3])).status is Status.UPDATED
        new = Employee.objects.get(company=places[2])
        assert (new.name, new.email_key, new.job_title) == ("Zoë de Vries", "zoe@example.com", "Owner")
        assert Employee.objects.get(pk=zoe[0].pk).modified > early == Employee.objects.get(pk=zoe[1].pk).modified

    def test_a_company_less_is_a_job_less(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        one(owner, Op.UPDATE, zoe[0].pk, companies=keys(places[0]))
        assert list(Employee.objects.values_list("pk", "company")) == [(zoe[0].pk, places[0].pk)]

    def test_the_key_stays_when_the_first_job_goes(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        one(owner, Op.UPDATE, zoe[0].pk, companies=keys(places[1], places[3]))
        jobs = Employee.objects.order_by("pk").values_list("company", "job_title", "email_key")
        assert list(jobs) == [(places[1].pk, "Adviser", "zoe@example.com"), (places[3].pk, "Adviser", "zoe@example.com")]
        assert row(zoe[0].pk, "companies")["companies"] == list(keys(places[1], places[3]))

    def test_a_person_who_moves_keeps_key_and_title(self, owner: User, places: list[Company], zoe: list[Employee]) -> None:
        one(owner, Op.UPDATE, zoe[0].pk, companies=keys(places[2]))
        assert list(Employee.objects.values_list("pk", "company", "job_title")) == [(zoe[0].pk, places[2].pk, "Owner")]

    def test_the_last_job_is_never_taken_away_by_a_change(self, owner: User, zoe: list[Employee]) -> None:
        assert refusal(one(owner, Op.UPDATE, zoe[0].pk, companies=None)) == (Code.REQUIRED, "companies")
        assert Employee.objects.count() == 2

    def test_deleting_a_person_deletes_all_jobs_and_needs_the_permission(
        self, owner: User, places: list[Company], zoe: list[Employee]
    ) -> None:
        assert refusal(one(User.objects.create_user("other"), Op.DELETE, zoe[0].pk)) == (Code.OTHER, None)
        answers = PEOPLE.write(
            [
                change(Op.DELETE, zoe[0].pk, "a"),
                change(Op.UPDATE, zoe[0].pk, "b", name="X"),
                change(Op.CREATE, token="c", email="zoe@example.com", companies=keys(places[0])),
            ],
            owner,
        )
        assert [answer.status for answer in answers] == [Status.UPDATED, Status.REJECTED, Status.CREATED]
        assert list(Employee.objects.values_list("email_key", flat=True)) == ["zoe@example.com"]


@pytest.mark.parametrize("size", [3, 300])
def test_a_batch_takes_a_few_statements_whatever_its_size(owner: User, places: list[Company], size: int) -> None:
    a, b, *_ = places
    there = Employee.objects.bulk_create([Employee(company=a, name="Old", email=f"old{n}@x.example") for n in range(size)])
    changes = [
        *(change(Op.CREATE, token=f"c{n}", name="New", email=f"new{n}@x.example", companies=keys(a, b)) for n in range(size)),
        *(change(Op.UPDATE, job.pk, f"u{job.pk}", name="Changed", companies=keys(b)) for job in there),
    ]
    with CaptureQueriesContext(connection) as queries:
        answers = PEOPLE.write(changes, owner)
    assert len(queries) <= 9, [str(query["sql"])[:90] for query in queries]
    assert [answer.token for answer in answers] == [each.token for each in changes]
    assert Employee.objects.filter(company=b).count() == 2 * size
    assert PEOPLE.rows(["id"]).count() == 2 * size
