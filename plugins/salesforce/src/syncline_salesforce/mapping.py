"""Suggested mappings: companies and people of the companies app to accounts and contacts, as far as those have the fields."""

from __future__ import annotations

from typing import Any, Final

from syncline.contract import DatasetInfo, MatchRule, MatchStep, ObjectType, SuggestedMapping, SuggestedRule

TRIM: Final = ({"name": "trim"},)
REVIEW: Final = "review"


def _kept(source: str, target: str, *transforms: dict[str, Any], owner: str = "newest") -> SuggestedRule:
    """Where we hold nothing, what people typed there stays."""
    return SuggestedRule(target, source, transforms=transforms or TRIM, null_policy="skip", owner=owner)


COMPANY: Final = SuggestedMapping(
    rules=(
        _kept("name", "Name", owner=REVIEW),
        _kept("website", "Website", owner=REVIEW),
        _kept("description", "Description"),
        _kept("country_name", "BillingCountry"),
    ),
    match=MatchRule((MatchStep("Website", normalise="domain"), MatchStep("Name", only_if_unique=True))),
)
PERSON: Final = SuggestedMapping(
    rules=(
        _kept("email", "Email", {"name": "trim"}, {"name": "lower"}, owner=REVIEW),
        _kept("first_name", "FirstName"),
        _kept("last_name", "LastName"),
        _kept("job_title", "Title"),
        _kept("phone_number", "Phone"),
    ),
    match=MatchRule((MatchStep("Email", normalise="email"),)),
)
KNOWN: Final = {("companies.company", "Account"): COMPANY, ("companies.person", "Contact"): PERSON}


def suggest(dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
    known = KNOWN.get((dataset.key, object_type.key), SuggestedMapping())
    rules = tuple(rule for rule in known.rules if object_type.property(rule.target))
    steps = tuple(step for step in known.match.steps if object_type.property(step.property))
    return SuggestedMapping(rules, MatchRule(steps))
