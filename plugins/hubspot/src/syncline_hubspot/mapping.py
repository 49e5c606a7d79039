"""Suggested mappings: the companies app's datasets to HubSpot's standard objects."""

from __future__ import annotations

from typing import Any, Final

from syncline.contract import DatasetInfo, Kind, MatchRule, MatchStep, ObjectType, Property, SuggestedMapping, SuggestedRule

from .properties import GROUP, schema_of

TRIM: Final = ({"name": "trim"},)
REVIEW: Final = "review"
HERE: Final = "here"
GENDERS: Final = {"M": "Male", "F": "Female", "O": "Other"}


def _kept(source: str, target: str, *transforms: dict[str, Any], owner: str = REVIEW) -> SuggestedRule:
    """Into a property of HubSpot's own: where we hold nothing, what people typed there stays.

    In a two-way sync both sides keep it, and what both changed is for a person: *newest* would lose one of the two edits, and
    of ours it is known only when the record was changed.
    """
    return SuggestedRule(target, source, transforms=transforms or TRIM, null_policy="skip", owner=owner)


def _linked(source: str, object_type: str) -> SuggestedRule:
    return SuggestedRule(object_type, source, association=True, owner="newest")


def _number(name: str, label: str) -> Property:
    return Property(name, label, Kind.NUMBER, schema_of(Kind.NUMBER, ()), group=GROUP)


def _date(name: str, label: str) -> Property:
    return Property(name, label, Kind.DATE, schema_of(Kind.DATE, ()), group=GROUP)


COMPANY: Final = SuggestedMapping(
    rules=(
        _kept("name", "name"),
        _kept("website", "domain", {"name": "domain"}, owner=HERE),
        _kept("website", "website"),
        _kept("description", "description"),
        _kept("country_name", "country"),
        _kept("companies_house_id", "companies_house_number", {"name": "trim"}, {"name": "upper"}),
        SuggestedRule("syncline_date_founded", "date_founded"),
        SuggestedRule("syncline_total_raised", "total_raised"),
        SuggestedRule("syncline_deal_count", "deal_count"),
        SuggestedRule("syncline_last_deal_date", "last_deal_date"),
        # Not `numberofemployees`: that is the company's real size, these are the people known here.
        SuggestedRule("syncline_employee_count", "employee_count"),
    ),
    match=MatchRule(
        (
            MatchStep("domain", also=("hs_additional_domains", "website"), normalise="domain"),
            MatchStep("companies_house_number", normalise="identifier"),
            MatchStep("name", only_if_unique=True),
        )
    ),
    create=(
        Property("companies_house_number", "Companies House number", schema={"type": "string", "maxLength": 65536}, group=GROUP),
        _date("syncline_date_founded", "Date founded"),
        _number("syncline_total_raised", "Total raised"),
        _number("syncline_deal_count", "Number of deals"),
        _date("syncline_last_deal_date", "Last deal"),
        _number("syncline_employee_count", "People known"),
    ),
)
PERSON: Final = SuggestedMapping(
    rules=(
        _kept("email", "email", {"name": "trim"}, {"name": "lower"}),
        _kept("first_name", "firstname"),
        _kept("last_name", "lastname"),
        _kept("job_title", "jobtitle"),
        _kept("gender", "gender", {"name": "choice_map", "map": GENDERS}, owner=HERE),
        _kept("phone_number", "phone"),
        _linked("companies", "companies"),
    ),
    match=MatchRule((MatchStep("email", also=("hs_additional_emails",), normalise="email"),)),
)
DEAL: Final = SuggestedMapping(
    rules=(
        _kept("name", "dealname", owner=HERE),
        SuggestedRule("amount", "amount_raised", owner=REVIEW),
        SuggestedRule("closedate", "date_of_deal", owner=REVIEW),
        SuggestedRule("pipeline", expression='"default"', write_mode="if_new"),
        # The register holds deals that were done; who moves one in HubSpot keeps the last word.
        SuggestedRule("dealstage", expression='"closedwon"', write_mode="if_new"),
        _linked("company", "companies"),
    ),
)
KNOWN: Final = {
    ("companies.company", "companies"): COMPANY,
    ("companies.person", "contacts"): PERSON,
    ("companies.deal", "deals"): DEAL,
}


def suggest(dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
    known = KNOWN.get((dataset.key, object_type.key), SuggestedMapping())
    wanted = known.create + ((object_type.key_property,) if known.rules and object_type.key_property else ())
    missing = tuple(p for p in wanted if object_type.property(p.name) is None)
    return SuggestedMapping(known.rules, known.match, missing)
