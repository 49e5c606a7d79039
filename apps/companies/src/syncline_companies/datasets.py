"""What the register offers to syncs: companies, people and deals.

Rows are read in chunks in id order, so everything here must stay an index probe per row: aggregates and peers are
correlated subqueries, each added only when its field is asked for. `rows()` narrows to the id first, because an
annotation may bear the name of a model field (`country`, `email`) only when that field is not selected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
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
    Q,
    QuerySet,
    Subquery,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Concat, Length, Replace, Substr, Trim
from syncline.contract import (
    ConfigError,
    Dataset,
    DatasetInfo,
    Dependency,
    Hop,
    LocalChange,
    Op,
    Segment,
    Written,
)

from . import finding
from .fields import COMPANY, DEAL, PERSON
from .models import Company, Deal, Employee
from .writing.batch import Batch
from .writing.companies import CompanyBatch
from .writing.deals import DealBatch
from .writing.names import NO_BREAK
from .writing.people import PersonBatch

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model

ALL: Final = Segment("", "All")
MONITORED: Final = Segment("monitored", "Monitored by the connection's owner", needs_owner=True)
NO_NAME: Final = "(no name)"
USERS: Final = get_user_model()._meta.db_table
MONITORS: Final = Company.monitors.through._meta.db_table
WRITES: Final = frozenset({Op.CREATE, Op.UPDATE, Op.DELETE})


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
    batch: type[Batch]
    #: Fields along which records are found quickly.
    found_by: Mapping[str, Callable[[Collection[str]], Q]] = {}
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

    def find(self, field: str, values: Collection[str]) -> QuerySet[Any] | None:
        if field not in self.found_by:
            return None
        return self.rows((field,)).filter(self.found_by[field](values)) if values else self.rows((field,)).none()

    def write(self, changes: Sequence[LocalChange], owner: AbstractBaseUser) -> Sequence[Written]:
        return self.batch(self.info, changes, owner).write()


class CompanyDataset(RegisterDataset):
    """A new company's creator is the connection's owner. A company with people or deals is never deleted by a pull."""

    model = Company
    batch = CompanyBatch
    found_by = {
        "name": finding.by_name,
        "website": finding.by_website,
        "companies_house_id": finding.by_house_number,
    }
    info = DatasetInfo(
        key="companies.company",
        label="Companies",
        model="companies.Company",
        permission="companies.view_company",
        segments=(ALL, MONITORED),
        writes=WRITES,
        write_permissions=("companies.add_company", "companies.change_company"),
        modified="modified",
        fields=COMPANY,
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
_FIRST_WORD = Func(_NAME, Value(" "), Value(1), function="split_part", output_field=TextField())


_JOBS_OF_PERSON = Hop("companies_employee", "email_key", "id")
_JOBS_THERE = Hop("companies_employee", "company_id", "id")


class PersonDataset(RegisterDataset):
    """People, one row each however many jobs they have: the row of their first job (smallest id) stands for them.

    People are told apart by e-mail; without one, each job is a person.
    """

    model = Employee
    batch = PersonBatch
    found_by = {"email": finding.by_email}
    info = DatasetInfo(
        key="companies.person",
        label="People",
        model="companies.Employee",
        permission="companies.view_employee",
        segments=(ALL, MONITORED),
        writes=WRITES,
        write_permissions=("companies.add_employee", "companies.change_employee"),
        modified="modified",
        fields=PERSON,
    )
    annotations = {
        "first_name": Trim(Replace(_FIRST_WORD, Value(NO_BREAK), Value(" "), output_field=TextField())),
        "last_name": Trim(Substr(_NAME, Length(_FIRST_WORD) + 1)),
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

    def titled(self) -> Any:
        return Func(F("name"), Value(" " + NO_BREAK), function="btrim", output_field=TextField())

    def record_key(self, instance: Model) -> str:
        """The key of the person who holds this job."""
        first = (
            Employee.objects.filter(pk=instance.pk).order_by().annotate(first_job=_FIRST_JOB).values_list("first_job", flat=True)
        )
        return str(first.get())


_DEALS_OF_COMPANY = Hop("companies_deal", "company_id", "id")


class DealDataset(RegisterDataset):
    model = Deal
    batch = DealBatch
    info = DatasetInfo(
        key="companies.deal",
        label="Deals",
        model="companies.Deal",
        permission="companies.view_deal",
        segments=(ALL, MONITORED),
        writes=WRITES,
        write_permissions=("companies.add_deal", "companies.change_deal"),
        modified="modified",
        fields=DEAL,
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
