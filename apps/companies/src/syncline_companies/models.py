"""The register: companies, where they are, who works there and what they raised.

The rules of the forms are stricter than the tables: rows that arrive by COPY or loaddata may lack a name, a date or a
creator, and everything that reads them must cope.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models.functions import Lower, NullIf, Trim
from django.utils import timezone
from syncline.contract.normalise import domain

from . import finding

NAME_MISSING: Final = "Give the company a name: it is how people and other systems recognise it."


def validate_not_in_future(value: dt.date) -> None:
    if value > timezone.localdate():
        raise ValidationError("A company cannot be founded in the future: %(date)s is after today.", params={"date": value})


def validate_website(value: str) -> None:
    if not domain(value):
        raise ValidationError(
            "“%(value)s” is not a web address. Give one such as www.example.co.uk, or leave it blank.",
            params={"value": value},
        )


class Today(models.Func):
    template = "CURRENT_DATE"
    output_field = models.DateField()


class Stamped(models.Model):
    """A row that knows when it was made and last saved."""

    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True


class Country(models.Model):
    iso_code = models.CharField("ISO code", max_length=3, unique=True)
    name = models.CharField(max_length=100)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "countries"

    def __str__(self) -> str:
        return f"{self.name} ({self.iso_code})"


class Company(Stamped):
    companies_house_id = models.CharField(
        "Companies House number",
        max_length=8,
        blank=True,
        validators=[
            RegexValidator(r"^[A-Za-z0-9]*\Z", "A Companies House number has up to eight letters and digits, such as SC123456.")
        ],
    )
    name = models.CharField(
        max_length=200,
        error_messages={"blank": NAME_MISSING},
    )
    description = models.TextField(blank=True)
    date_founded = models.DateField(null=True, blank=True, validators=[validate_not_in_future])
    country = models.ForeignKey(Country, models.PROTECT, null=True, blank=True, related_name="companies")
    website = models.CharField(max_length=200, blank=True, default="", validators=[validate_website])
    creator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="created_companies"
    )
    monitors = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="monitored_companies")

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "companies"
        indexes = [
            models.Index(fields=["date_founded", "id"], name="companies_founded"),
            models.Index(fields=["companies_house_id"], name="companies_house_id"),
            models.Index(fields=["id"], condition=finding.ODD_HOUSE_NUMBER, name="companies_odd_house_id"),
            models.Index(finding.in_sql(models.F("name")), name="companies_name"),
            models.Index(fields=["id"], condition=finding.ODD_NAME, name="companies_odd_name"),
            models.Index(finding.host_in_sql(models.F("website")), name="companies_host"),
            models.Index(fields=["id"], condition=finding.ODD_WEBSITE, name="companies_odd_website"),
        ]
        constraints = [
            # Sound although it reads the clock: what is past today stays past.
            models.CheckConstraint(
                condition=models.Q(date_founded__lte=Today()),
                name="companies_founded_in_past",
                violation_error_message="A company cannot be founded in the future.",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"Company {self.pk} (no name)"

    def clean(self) -> None:
        self.companies_house_id = self.companies_house_id.strip().upper()
        self.website = self.website.strip()


class Deal(Stamped):
    company = models.ForeignKey(Company, models.CASCADE, related_name="deals", db_index=False)
    date_of_deal = models.DateField(null=True, blank=True)
    amount_raised = models.DecimalField(max_digits=15, decimal_places=2, validators=[MinValueValidator(0)])

    class Meta:
        ordering = ["id"]
        # Covers the three aggregates per company, so that reading them touches the index only.
        indexes = [models.Index(fields=["company"], include=["amount_raised", "date_of_deal"], name="companies_deal_company")]

    def __str__(self) -> str:
        return f"Deal of {self.date_of_deal or 'an unknown date'}"


class Employee(Stamped):
    """One person's job at one company. A person with two jobs is two rows with the same e-mail."""

    class Gender(models.TextChoices):
        MALE = "M", "Male"
        FEMALE = "F", "Female"
        OTHER = "O", "Other"

    company = models.ForeignKey(Company, models.CASCADE, related_name="employees")
    name = models.CharField(max_length=200)
    job_title = models.CharField(max_length=200, blank=True)
    gender = models.CharField(max_length=1, choices=Gender, blank=True)
    email = models.EmailField("e-mail", blank=True)
    phone_number = models.CharField(max_length=20, blank=True)
    #: What tells people apart: the e-mail without case and outer spaces; null when there is none.
    email_key = models.GeneratedField(
        expression=NullIf(Lower(Trim("email")), models.Value("")),
        output_field=models.CharField(max_length=254, null=True),
        db_persist=True,
    )

    class Meta:
        ordering = ["id"]
        indexes = [
            models.Index(fields=["email_key", "id"], name="companies_person"),
            models.Index(fields=["id"], condition=finding.ODD_EMAIL, name="companies_odd_email"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["company", "email"],
                condition=~models.Q(email=""),
                name="companies_employee_email",
                violation_error_message="This company has an employee with this e-mail already.",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"Employee {self.pk} (no name)"
