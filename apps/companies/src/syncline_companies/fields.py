"""The fields of the register's datasets, and which of them pulls may write."""

from __future__ import annotations

from typing import Final

from syncline.contract import Choice, Field, Kind

from .models import Employee


def text(name: str, label: str, longest: int = 200, *, required: bool = False, note: str = "") -> Field:
    """A text that pulls may write."""
    schema = {"type": "string", "maxLength": longest}
    return Field(name, label, help=note, writable=True, required=required, schema=schema)


GENDERS: Final = tuple(Choice(*choice) for choice in Employee.Gender.choices)
COMPANY: Final = (
    Field("id", "Key", Kind.NUMBER),
    text("name", "Name", required=True),
    Field("companies_house_id", "Companies House number", help="Stored in capitals", writable=True),
    Field("description", "Description", writable=True),
    Field("date_founded", "Founded", Kind.DATE, help="Never in the future", writable=True),
    Field("country", "Country code", help="ISO code of a country of the register", writable=True),
    Field("country_name", "Country", help="Name or ISO code of a country of the register", writable=True),
    text("website", "Website", note="An address with a domain"),
    Field("creator_email", "Creator's e-mail", Kind.EMAIL),
    Field("created", "Created", Kind.DATETIME),
    Field("modified", "Modified", Kind.DATETIME),
    Field("total_raised", "Total raised", Kind.NUMBER),
    Field("deal_count", "Number of deals", Kind.NUMBER),
    Field("last_deal_date", "Last deal", Kind.DATE),
    Field("employee_count", "Number of employees", Kind.NUMBER),
)
PERSON: Final = (
    Field("id", "Key", Kind.NUMBER),
    text("name", "Name"),
    text("first_name", "First name", note="The first word of the name; no-break spaces keep several words together"),
    text("last_name", "Last name", note="The rest of the name"),
    text("job_title", "Job title", note="Of the first job"),
    Field("gender", "Gender", Kind.CHOICE, choices=GENDERS, writable=True),
    Field("email", "E-mail", Kind.EMAIL, writable=True, schema={"type": "string", "maxLength": 254}),
    text("phone_number", "Phone number", 20),
    Field("companies", "Companies", Kind.REFERENCE, "companies.company", many=True, writable=True, required=True),
    Field("created", "Created", Kind.DATETIME),
    Field("modified", "Modified", Kind.DATETIME),
)
DEAL: Final = (
    Field("id", "Key", Kind.NUMBER),
    Field("name", "Name", help="The company's name and the date of the deal"),
    Field("company", "Company", Kind.REFERENCE, "companies.company", writable=True, required=True),
    Field("date_of_deal", "Date", Kind.DATE, writable=True),
    Field("amount_raised", "Amount raised", Kind.NUMBER, help="Rounded to cents", writable=True, required=True),
    Field("created", "Created", Kind.DATETIME),
    Field("modified", "Modified", Kind.DATETIME),
)
