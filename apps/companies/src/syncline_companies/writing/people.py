"""People, as pulls bring them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db import connection
from django.db.models import Q
from syncline.contract import Code, LocalChange, Op, RecordError, Status, Value

from ..models import Employee
from . import names, tables
from . import values as read
from .batch import Batch, Planned, gone, missing
from .companies import company, referred
from .person import Person, people
from .values import Reader, Refused, same_text

READERS: Final[Mapping[str, Reader]] = {
    "name": read.text(200),
    "job_title": read.text(200),
    "gender": read.one_of(Employee.Gender.values),
    "phone_number": read.text(20),
}
#: What a new person differs from.
NOBODY: Final = Employee()
#: Of what a name is worked out when only a part of it is written.
PARTS: Final = ("first_name", "last_name")
ONE_AT_A_TIME: Final = "SELECT pg_advisory_xact_lock(hashtextextended('companies.person', 0))"


class PersonBatch(Batch):
    def look_up(self) -> None:
        with connection.cursor() as cursor:  # no constraint says that a person is there once, so two batches could make one twice
            cursor.execute(ONE_AT_A_TIME)
        self.companies = tables.kept_companies(referred(self.changes, "companies"))
        found = people(self._jobs())
        self.by_job = {job.pk: person for person in found for job in person.jobs}
        self.by_email = {person.email: person for person in (*people(self._others()), *found) if person.email}
        self.touched: dict[int, Person] = {}
        self.created: list[Person] = []
        self.removed: set[int] = set()

    def _jobs(self) -> list[Employee]:
        """All jobs of the people who are named, locked."""
        keys = self.keys()
        emails = set(Employee.objects.filter(pk__in=keys).exclude(email_key=None).values_list("email_key", flat=True))
        rows = Employee.objects.select_for_update(no_key=not self.has(Op.DELETE))
        return list(rows.filter(Q(pk__in=keys) | Q(email_key__in=emails)).order_by("pk"))

    def _others(self) -> list[Employee]:
        """Jobs of the people whose e-mails are given: only to be told apart from, so nobody waits for them."""
        given = (change.values.get("email") for change in self.changes)
        emails = {value for value in given if isinstance(value, str) and "\0" not in value}
        return list(Employee.objects.filter(email_key__in=emails).order_by("pk"))

    def create(self, change: LocalChange) -> Planned:
        person = Person([NOBODY], "")
        wanted = self._companies(change.values, set())
        email, columns = self._email(change.values, ""), self._columns(change.values, person)
        if other := self.by_email.get(email):
            return _clash(change, other)
        _check_told_apart(email, columns.get("name", ""), wanted)
        person.jobs = [Employee(company_id=one, email=email, **columns) for one in sorted(wanted)]
        self._rename(person, email)
        self.created.append(person)
        return Planned(change.token, Status.CREATED, person.key)

    def update(self, change: LocalChange) -> Planned:
        person = self._person(change)
        wanted = self._companies(change.values, person.companies)
        email, columns = self._email(change.values, person.email), self._columns(change.values, person)
        if not columns and wanted == person.companies and email == person.email:
            return Planned(change.token, Status.UNCHANGED, lambda: change.local_key)
        if (other := self.by_email.get(email, person)) is not person:
            return _clash(change, other)
        if email != person.email or "name" in columns or len(wanted) > 1:
            _check_told_apart(email, columns.get("name", person.row.name), wanted)
        if email != person.email and person.is_twice_in_one(wanted):
            raise _twice_in_one()
        self._apply(person, wanted, email, columns)
        return Planned(change.token, Status.UPDATED, lambda: change.local_key)

    def _apply(self, person: Person, wanted: set[int], email: str, columns: Mapping[str, Any]) -> None:
        if wanted != person.companies:
            person.move(wanted)
        person.change(columns if email == person.email else {**columns, "email": email})
        self._rename(person, email)
        self.touched[person.row.pk] = person

    def _rename(self, person: Person, email: str) -> None:
        self.by_email.pop(person.email, None)
        person.email = email
        if email:
            self.by_email[email] = person

    def delete(self, change: LocalChange) -> Planned:
        person = self._person(change)
        self.check_may_delete("companies.delete_employee")
        self.removed |= person.before.keys()
        self.by_email.pop(person.email, None)
        for key in person.before:
            self.by_job.pop(key, None)
        self.touched.pop(person.row.pk, None)
        return Planned(change.token, Status.UPDATED, lambda: change.local_key)

    def _person(self, change: LocalChange) -> Person:
        person = self.by_job.get(tables.as_number(change.local_key) or 0)
        if person is None:
            raise gone()
        if person.key() != change.local_key:
            sentence = "This job is now one of another person, who has the same e-mail. Give one of the two another e-mail here."
            raise Refused(Code.NOT_FOUND, sentence, existing=person.key())
        return person

    def _companies(self, values: Mapping[str, Value], there: set[int]) -> set[int]:
        """Never none: without a job there is no person."""
        given = values.get("companies")
        keys = given if isinstance(given, tuple) else ()
        wanted = {company(key, self.companies, "companies") for key in keys} if "companies" in values else there
        if not wanted:
            raise Refused(
                Code.REQUIRED,
                "Without a company there is no job, and no person. Give the person a company there, or delete the person.",
                "companies",
            )
        return wanted

    def _email(self, values: Mapping[str, Value], current: str) -> str:
        value = values.get("email") if "email" in values else current
        return current if (value or "") == current else read.email(value, "email") if value else ""

    def _columns(self, values: Mapping[str, Value], person: Person) -> dict[str, Any]:
        """What changes in the person's row, but e-mail and company."""
        row, found = person.row, {}
        for name, reader in READERS.items():
            if name in values and not same_text(getattr(row, name), value := values[name]):
                found[name] = "" if value is None else reader(value, name)
        if parts := {name: values[name] for name in PARTS if name in values}:
            found.update(_name(parts, found.get("name", row.name), given="name" in values))
        return found

    def store(self) -> None:
        touched = list(self.touched.values())
        if removed := self.removed.union(*(person.to_remove() for person in touched)):
            Employee.objects.filter(pk__in=removed).delete()
        tables.update(Employee, [job for person in touched for job in person.to_update()])
        tables.insert(Employee, [job for person in (*self.created, *touched) for job in person.to_insert()])


def _name(parts: Mapping[str, Value], whole: str, *, given: bool) -> dict[str, str]:
    """The name that comes of its parts; a part that is not written stays what it is. Nothing when the name says the same."""
    current = dict(zip(PARTS, names.split(whole), strict=True))
    new = {name: str(read.text()(value, name)) if (value := parts.get(name, current[name])) else "" for name in PARTS}
    composed = names.compose(new["first_name"], new["last_name"])
    if names.split(composed) == names.split(whole):
        return {}
    field = next(iter(parts))
    if given:
        raise Refused(Code.INVALID_VALUE, "It is no part of the name. Write either the name or its parts: remove a rule.", field)
    return {"name": str(read.text(200)(composed, field))}


def _check_told_apart(email: str, name: str, wanted: set[int]) -> None:
    if not email and missing(name):
        raise Refused(Code.REQUIRED, "It has neither name nor e-mail, one of which is needed. Fill one in there.", "name")
    if not email and len(wanted) > 1:
        raise Refused(Code.REQUIRED, "Only an e-mail makes one person of several jobs. Give the person one there.", "email")


def _clash(change: LocalChange, other: Person) -> Planned:
    sentence = "Another person here has this e-mail. Correct one of the two, or make one record of them there."
    error = RecordError(Code.CONFLICT, sentence, "email")
    return Planned(change.token, Status.REJECTED, lambda: change.local_key, error, other.key)


def _twice_in_one() -> Refused:
    sentence = "Two of the person's jobs are in one company, where an e-mail is allowed once. Delete one of the jobs here first."
    return Refused(Code.OTHER, sentence, "email")
