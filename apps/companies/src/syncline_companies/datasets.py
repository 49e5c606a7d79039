"""What the register offers to syncs: companies, people and deals.

Rows are read in chunks in id order, so everything here must stay an index probe per row: aggregates and peers are
correlated subqueries, each added only when its field is asked for. `rows()` narrows to the id first, because an
annotation may bear the name of a model field (`country`, `email`) only when that field is not selected.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth import get_user_model
from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Case,
    CharField,
    Count,
    Expression,
    F,
    Func,
    Max,
    Min,
    OuterRef,
    QuerySet,
    Subquery,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Concat, Length, Substr, Trim
from syncline.contract import Choice, ConfigError, Dataset, DatasetInfo, Dependency, Field, Hop, Kind, Segment

from .models import Company, Deal, Employee

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model

ALL: Final = Segment("", "All")
MONITORED: Final = Segment("monitored", "Monitored by the connection's owner", needs_owner=True)
NO_NAME: Final = "(no name)"
USERS: Final = get_user_model()._meta.db_table
MONITORS: Final = Company.monitors.through._meta.db_table


def per_company(model: type[Deal] | type[Employee], aggregate: Expression) -> Subquery:
    """One aggregate over the company's rows of `model`: a group of one, so that joins cannot multiply it."""
    rows = model._default_manager.filter(company=OuterRef("pk")).order_by().values("company")
    return Subquery(rows.annotate(value=aggregate).values("value"))


def as_key(name: str) -> Cast:
    """A foreign key as the local key it is in the other dataset."""
    return Cast(name, TextField())


class RegisterDataset(Dataset):
    """Segments, annotations and titles, which the register's datasets do alike."""

    model: type[Model]
    #: Fields that are no columns. One that bears a model field's name hides that field from those after it.
    annotations: Mapping[str, Any] = {}

    def rows(self, fields: Collection[str], segment: str = "", owner: AbstractBaseUser | None = None) -> QuerySet[Any]:
        wanted = {name: value for name, value in self.annotations.items() if name in fields}
        rows: QuerySet[Any] = self.in_segment(segment, owner).order_by().values("id").annotate(**wanted)
        return rows

    def in_segment(self, segment: str, owner: AbstractBaseUser | None) -> QuerySet[Any]:
        if segment == ALL.key:
            return self.everything()
        if segment != MONITORED.key or MONITORED not in self.info.segments:
            known = ", ".join(repr(s.key) for s in self.info.segments)
            raise ConfigError(f"{self.info.key} has no segment {segment!r}. Choose one of {known} in the sync's settings.")
        if owner is None:
            raise ConfigError(f"The segment {segment!r} of {self.info.key} needs an owner. Give the connection one.")
        return self.monitored(owner)

    def everything(self) -> QuerySet[Any]:
        return self.model._default_manager.all()

    def monitored(self, owner: AbstractBaseUser) -> QuerySet[Any]:
        raise NotImplementedError

    def title(self, keys: Collection[str]) -> dict[str, str]:
        wanted = [int(key) for key in keys if key.isdecimal()]
        found = self.model._default_manager.filter(pk__in=wanted).order_by().values("pk").annotate(title=self.titled())
        return {str(row["pk"]): row["title"] or NO_NAME for row in found}

    def titled(self) -> Any:
        return Trim("name")


class CompanyDataset(RegisterDataset):
    model = Company
    info = DatasetInfo(
        key="companies.company",
        label="Companies",
        model="companies.Company",
        permission="companies.view_company",
        segments=(ALL, MONITORED),
        fields=(
            Field("id", "Key", Kind.NUMBER),
            Field("name", "Name"),
            Field("companies_house_id", "Companies House number"),
            Field("description", "Description"),
            Field("date_founded", "Founded", Kind.DATE),
            Field("country", "Country code", help="ISO code"),
            Field("country_name", "Country"),
            Field("website", "Website"),
            Field("creator_email", "Creator's e-mail", Kind.EMAIL),
            Field("created", "Created", Kind.DATETIME),
            Field("modified", "Modified", Kind.DATETIME),
            Field("total_raised", "Total raised", Kind.NUMBER),
            Field("deal_count", "Number of deals", Kind.NUMBER),
            Field("last_deal_date", "Last deal", Kind.DATE),
            Field("employee_count", "Number of employees", Kind.NUMBER),
        ),
    )
    annotations = {
        "country_name": F("country__name"),
        "country": F("country__iso_code"),
        "creator_email": F("creator__email"),
        "total_raised": per_company(Deal, Sum("amount_raised")),
        "deal_count": Coalesce(per_company(Deal, Count("*")), 0),
        "last_deal_date": per_company(Deal, Max("date_of_deal")),
        "employee_count": Coalesce(per_company(Employee, Count("*")), 0),
    }

    depends_on = (
        Dependency("companies_company"),
        Dependency("companies_deal", "company_id", fields=("total_raised", "deal_count", "last_deal_date")),
        Dependency("companies_employee", "company_id", fields=("employee_count",)),
        Dependency(
            "companies_country",
            through=(Hop("companies_company", "country_id", "id"),),
            columns=("iso_code", "name"),
            fields=("country", "country_name"),
        ),
        # the column, because every log-in updates a user
        Dependency(USERS, through=(Hop("companies_company", "creator_id", "id"),), columns=("email",), fields=("creator_email",)),
        Dependency(MONITORS, "company_id", segments=(MONITORED.key,)),
    )

    def monitored(self, owner: AbstractBaseUser) -> QuerySet[Any]:
        return Company.objects.filter(monitors=owner.pk)


_PEERS = Employee.objects.filter(email_key=OuterRef("email_key")).order_by()
_FIRST_JOB = Coalesce(Subquery(_PEERS.values("email_key").annotate(first=Min("id")).values("first")), F("id"))
_NAME = Trim("name")
_FIRST_NAME = Func(_NAME, Value(" "), Value(1), function="split_part", output_field=TextField())


_JOBS_OF_PERSON = Hop("companies_employee", "email_key", "id")
_JOBS_THERE = Hop("companies_employee", "company_id", "id")


class PersonDataset(RegisterDataset):
    """People, one row each however many jobs they have: the row of their first job (smallest id) stands for them.

    People are told apart by e-mail; without one, each job is a person.
    """

    model = Employee
    info = DatasetInfo(
        key="companies.person",
        label="People",
        model="companies.Employee",
        permission="companies.view_employee",
        segments=(ALL, MONITORED),
        fields=(
            Field("id", "Key", Kind.NUMBER),
            Field("name", "Name"),
            Field("first_name", "First name", help="The first word of the name"),
            Field("last_name", "Last name", help="The rest of the name"),
            Field("job_title", "Job title"),
            Field("gender", "Gender", Kind.CHOICE, choices=tuple(Choice(*choice) for choice in Employee.Gender.choices)),
            Field("email", "E-mail", Kind.EMAIL),
            Field("phone_number", "Phone number"),
            Field("companies", "Companies", Kind.REFERENCE, reference="companies.company", many=True),
            Field("created", "Created", Kind.DATETIME),
            Field("modified", "Modified", Kind.DATETIME),
        ),
    )
    annotations = {
        "first_name": _FIRST_NAME,
        "last_name": Trim(Substr(_NAME, Length(_FIRST_NAME) + 1)),
        "email": Coalesce("email_key", Value("")),
        "companies": Case(
            When(email_key__isnull=True, then=Func(as_key("company_id"), template="ARRAY[%(expressions)s]")),
            default=ArraySubquery(_PEERS.annotate(key=as_key("company_id")).values("key").distinct().order_by("key")),
            output_field=ArrayField(TextField()),
        ),
    }

    # Every job of the person: whichever is or was the first one is among them.
    depends_on = (
        Dependency("companies_employee"),
        Dependency("companies_employee", "email_key", (_JOBS_OF_PERSON,)),
        Dependency(MONITORS, "company_id", (_JOBS_THERE,), segments=(MONITORED.key,)),
        Dependency(
            MONITORS,
            "company_id",
            (Hop("companies_employee", "company_id", "email_key"), _JOBS_OF_PERSON),
            segments=(MONITORED.key,),
        ),
    )

    def everything(self) -> QuerySet[Any]:
        return Employee.objects.filter(id=_FIRST_JOB)

    def monitored(self, owner: AbstractBaseUser) -> QuerySet[Any]:
        jobs = Employee.objects.filter(company__monitors=owner.pk).order_by()
        return Employee.objects.filter(id__in=jobs.annotate(first_job=_FIRST_JOB).values("first_job"))

    def record_key(self, instance: Model) -> str:
        """The key of the person who holds this job."""
        first = (
            Employee.objects.filter(pk=instance.pk).order_by().annotate(first_job=_FIRST_JOB).values_list("first_job", flat=True)
        )
        return str(first.get())


_DEALS_OF_COMPANY = Hop("companies_deal", "company_id", "id")


class DealDataset(RegisterDataset):
    model = Deal
    info = DatasetInfo(
        key="companies.deal",
        label="Deals",
        model="companies.Deal",
        permission="companies.view_deal",
        segments=(ALL, MONITORED),
        fields=(
            Field("id", "Key", Kind.NUMBER),
            Field("name", "Name", help="The company's name and the date of the deal"),
            Field("company", "Company", Kind.REFERENCE, reference="companies.company"),
            Field("date_of_deal", "Date", Kind.DATE),
            Field("amount_raised", "Amount raised", Kind.NUMBER),
            Field("created", "Created", Kind.DATETIME),
            Field("modified", "Modified", Kind.DATETIME),
        ),
    )
    annotations = {
        "name": Trim(Concat("company__name", Value(" "), Cast("date_of_deal", CharField()), output_field=CharField())),
        "company": as_key("company_id"),
    }

    depends_on = (
        Dependency("companies_deal"),
        Dependency("companies_company", through=(_DEALS_OF_COMPANY,), columns=("name",), fields=("name",)),
        Dependency(MONITORS, "company_id", (_DEALS_OF_COMPANY,), segments=(MONITORED.key,)),
    )

    def monitored(self, owner: AbstractBaseUser) -> QuerySet[Any]:
        return Deal.objects.filter(company__monitors=owner.pk)

    def titled(self) -> Any:
        return self.annotations["name"]


DATASETS: Final = (CompanyDataset(), PersonDataset(), DealDataset())
