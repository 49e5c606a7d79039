"""Mappings before they are published (every problem, in words) and at work on rows."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import (
    AssociationType,
    Choice,
    Code,
    DatasetInfo,
    Field,
    Kind,
    MatchRule,
    MatchStep,
    ObjectType,
    Op,
    Property,
    Segment,
)
from syncline.syncs.engine import MappingContent, MappingInvalid, Mode, RuleContent, compile_mapping
from syncline.syncs.engine.drift import compile_published
from syncline.syncs.engine.preview import PreviewPlan

pytestmark = pytest.mark.unit

DATASET = DatasetInfo(
    "companies.person",
    "People",
    (
        Field("name", "Name"),
        Field("website", "Website"),
        Field("born", "Born", Kind.DATE),
        Field("seen", "Seen", Kind.DATETIME),
        Field("deals", "Deals", Kind.NUMBER),
        Field("active", "Active", Kind.BOOLEAN),
        Field("tags", "Tags", many=True),
        Field("employer", "Employer", Kind.REFERENCE, reference="companies.company", many=True),
    ),
    (Segment("mine", "Mine"),),
)
OBJECT = ObjectType(
    "contacts",
    "Contacts",
    (
        Property("name", "Name", schema={"type": "string", "maxLength": 10}),
        Property("domain", "Domain"),
        Property("birthday", "Birthday", Kind.DATE),
        Property("seen", "Seen", Kind.DATETIME),
        Property("deals", "Deals", Kind.NUMBER, {"minimum": 0}),
        Property("country", "Country", Kind.CHOICE, choices=(Choice("GB", "UK"), Choice("IE", "Ireland"))),
        Property("tags", "Tags", Kind.SET),
        Property("email", "E-mail", Kind.EMAIL),
        Property("id", "Id", read_only=True),
        Property("odd", "Odd", schema={"type": "strin"}),
    ),
    {Op.CREATE: 100, Op.UPDATE: 100},
    associations=(AssociationType("companies"),),
)
ROW: dict[str, Any] = {
    "name": "Acme",
    "website": "https://www.acme.example.com/x",
    "born": dt.date(2001, 2, 3),
    "seen": dt.datetime(2024, 5, 6, 7, 8, 9, 1234, tzinfo=dt.UTC),
    "deals": 6,
    "active": True,
    "tags": ["b", "a"],
    "employer": [7, 3, 7],
}
NAME = RuleContent("name", "name")


def content(*rules: RuleContent, **other: Any) -> MappingContent:
    return MappingContent(rules or (NAME,), **other)


def problems(mapping: MappingContent, object_type: ObjectType = OBJECT) -> list[str]:
    with pytest.raises(MappingInvalid) as caught:
        compile_mapping(mapping, DATASET, object_type)
    assert str(caught.value).startswith("The mapping cannot be used. ")
    return [str(problem) for problem in caught.value.problems]


PROBLEMS: list[tuple[MappingContent, str]] = [
    (
        content(RuleContent("name", "nmae")),
        "Rule “nmae → name”: The dataset has no field “nmae”. Choose one of name, website, born",
    ),
    (content(RuleContent("nmae", "name")), "Rule “name → nmae”: “contacts” has no property “nmae”. Create it in the account, or"),
    (content(RuleContent("", "name")), "Rule “name → (no target)”: It has no target. Choose a property."),
    (content(RuleContent("name")), "Rule “(nothing) → name”: It needs either a field or an expression. Choose one."),
    (content(RuleContent("name", "name", "'x'")), "It needs either a field or an expression, not both. Remove one."),
    (content(RuleContent("id", "name")), "Rule “name → id”: The property “id” is read-only. Choose another, or remove the rule."),
    (
        content(NAME, RuleContent("name", "website")),
        "Target “name”: 2 rules write to it (name → name; website → name). Keep one.",
    ),
    (
        content(RuleContent("name", "name", transforms=({"name": "trimm"},))),
        "There is no transform “trimm”. Choose one of trim, lower",
    ),
    (
        content(RuleContent("name", "name", transforms=({"name": "truncate"},))),
        "The transform “truncate” has wrong options: 'length' is a required property. Correct them.",
    ),
    (
        content(RuleContent("name", "name", transforms=("trim",))),  # type: ignore[arg-type]
        'A transform must be written as {"name": "…", options}. Correct the list of transforms.',
    ),
    (
        content(RuleContent("name", expression="name +\n)")),
        "Rule “name + ) → name”: The expression cannot be used. Line 2, column 1: mismatched input ')'. Correct the expression.",
    ),
    (
        content(RuleContent("name", expression="nmae")),
        "The expression cannot be used. Unknown field: nmae. The dataset has name,",
    ),
    (
        content(RuleContent("name", "name", write_mode="append")),
        "Only sets can be added to, and “name” holds one value (string). Choose another write mode.",
    ),
    (
        content(RuleContent("name", "name", write_mode="sometimes")),
        "There is no write mode “sometimes”. Choose one of overwrite, if_empty, if_new, append.",
    ),
    (content(RuleContent("name", "name", null_policy="x")), "There is no null policy “x”. Choose one of clear, skip."),
    (
        content(RuleContent("deals", "employer", association=True)),
        "Rule “employer → deals”: “contacts” cannot be associated with “deals”. It can be associated with companies.",
    ),
    (
        content(RuleContent("companies", "name", association=True)),
        "An association needs a field that refers to another dataset. Choose one of employer.",
    ),
    (content(RuleContent("companies", expression="'1'", association=True)), "An association needs a field that refers"),
    (
        content(RuleContent("companies", "employer", association=True, transforms=({"name": "trim"},))),
        "An association takes no transforms. Remove them.",
    ),
    (content(RuleContent("companies", "name")), "“companies” is an object, not a property. Mark the rule as an association."),
    (
        content(RuleContent("name", "employer")),
        "The field “employer” refers to another dataset. Mark the rule as an association, or choose another field.",
    ),
    (
        content(RuleContent("deals", "born")),
        "The field “born” is a date, which “deals” (number) does not take. Add a transform (such as “epoch_ms”)",
    ),
    (content(RuleContent("name", "tags")), "The field “tags” is a list, and “name” holds one value. Add the transform “join”."),
    (
        content(RuleContent("odd", "name")),
        "The definition of “odd” cannot be used: 'strin' is not valid under any of the given schemas. Refresh the catalog",
    ),
    (
        content(match=MatchRule((MatchStep("domain"),))),
        "Match step 1 (by domain): No rule writes the property “domain”. Add a rule for it, or choose one of name.",
    ),
    (
        content(match=MatchRule((MatchStep("name", also=("domains",)),))),
        "Match step 1 (by name): “contacts” has no property “domains”. Take it out of the step's further properties.",
    ),
    (
        content(match=MatchRule((MatchStep("name", normalise="nothing"),))),
        "Match step 1 (by name): There is no normaliser “nothing”. Choose one of text, exact, email, identifier, domain.",
    ),
    (content(filter="deals >"), "Filter: The expression cannot be used. Line 1, column 8:"),
    (content(segment="yours"), "Segment: The dataset has no segment “yours”. Choose one of mine, or none."),
    (content(mode="replace"), "Mode: There is no mode “replace”. Choose one of upsert, update, create, mirror."),
    (MappingContent(()), "Mapping: It has no rules. Add one, or take the suggested mapping."),
]


@pytest.mark.parametrize(("mapping", "said"), PROBLEMS, ids=[said[:40] for _, said in PROBLEMS])
def test_each_problem_says_where_what_and_what_to_do(mapping: MappingContent, said: str) -> None:
    found = problems(mapping)

    assert len(found) == 1
    assert said in found[0]


def test_a_required_property_must_be_written_unless_records_are_only_updated() -> None:
    strict = replace(OBJECT, properties=(*OBJECT.properties, Property("stage", "Stage", required=True)))

    assert problems(content(), strict) == ["Property “stage”: It is required in new records, but no rule writes it. Add a rule."]
    assert compile_mapping(content(mode="update"), DATASET, strict).fields == ("name",)


@pytest.mark.parametrize(
    ("offered", "mode", "missing"),
    [
        ({Op.CREATE}, "upsert", "update"),
        ({Op.UPDATE}, "create", "create"),
        ({Op.CREATE}, "update", "update"),
        (set(), "upsert", "create and update"),
    ],
)
def test_a_mode_the_object_does_not_offer_is_a_problem(offered: set[Op], mode: str, missing: str) -> None:
    limited = replace(OBJECT, batch_sizes=dict.fromkeys(offered, 100))

    assert problems(content(mode=mode), limited) == [
        f"Mode: The mode “{mode}” needs to {missing} records, which “contacts” does not offer. Choose another."
    ]
    assert compile_mapping(content(mode=mode), DATASET, replace(OBJECT, batch_sizes={Op.UPSERT: 1})).rules


def test_all_problems_are_listed_not_just_the_first() -> None:
    wrong = [mapping for mapping, _ in PROBLEMS if mapping.rules != (NAME,)]
    together = MappingContent(tuple(rule for mapping in wrong for rule in mapping.rules), filter="(", segment="x", mode="y")

    assert len(problems(together)) >= len(wrong) + 3


FULL = content(
    NAME,
    RuleContent("domain", "website", transforms=({"name": "domain"},)),
    RuleContent("birthday", "born"),
    RuleContent("seen", "seen"),
    RuleContent("deals", expression="double(deals) * 1.5"),
    RuleContent("country", expression="active ? 'GB' : 'XX'"),
    RuleContent("tags", "tags"),
    RuleContent("companies", "employer", association=True),
    match=MatchRule((MatchStep("domain", normalise="domain"), MatchStep("name"), MatchStep("tags"), MatchStep("deals"))),
    filter="deals > 0",
)


def test_a_row_becomes_canonical_values_and_references() -> None:
    compiled = compile_mapping(FULL, DATASET, OBJECT)

    mapped = compiled.map(ROW)

    assert mapped.properties == {
        "name": "Acme",
        "domain": "acme.example.com",
        "birthday": "2001-02-03",
        "seen": "2024-05-06T07:08:09.001Z",
        "deals": 9,
        "country": "GB",
        "tags": ("a", "b"),
    }
    assert mapped.references == {"companies": ("3", "7")}
    assert (mapped.included, mapped.undecided, mapped.problems) == (True, False, ())
    assert compiled.references == {"companies": "companies.company"}


def test_only_the_fields_needed_are_read() -> None:
    compiled = compile_mapping(FULL, DATASET, OBJECT)
    assert compiled.fields == ("name", "website", "born", "seen", "deals", "active", "tags", "employer")
    assert compiled.match_fields == ("name", "website", "deals", "tags")

    small = compile_mapping(content(filter="deals > 0"), DATASET, OBJECT)
    assert (small.fields, small.match_fields) == (("name", "deals"), ())
    assert small.map({"name": "Acme", "deals": 1}).properties == {"name": "Acme"}


def test_match_values_are_normalised_and_blank_or_invalid_ones_give_nothing() -> None:
    compiled = compile_mapping(FULL, DATASET, OBJECT)
    needed = {name: ROW[name] for name in compiled.match_fields}

    assert compiled.match_values(needed) == ((0, "acme.example.com"), (1, "acme"), (2, "a"), (2, "b"), (3, "9"))
    blank = {"website": "nowhere", "name": "much too long for it", "tags": ["A ", "a"], "deals": -1}
    assert compiled.match_values(blank) == ((2, "a"),)


def test_a_value_that_fails_names_field_rule_and_value_and_the_others_go_on() -> None:
    compiled = compile_mapping(FULL, DATASET, OBJECT)

    mapped = compiled.map({**ROW, "name": "Acme Incorporated " * 20, "active": False, "born": "soon"})

    assert set(mapped.properties) == {"domain", "seen", "deals", "tags"}
    by_target = {problem.target: problem for problem in mapped.problems}
    assert set(by_target) == {"name", "country", "birthday"}
    long = by_target["name"]
    assert (long.rule, long.code, len(long.value)) == ("name → name", Code.TOO_LONG, 80)
    assert long.message.startswith("Rule “name → name”: “Acme Incorporated Acme")
    assert "has 360 characters; at most 10 are allowed. Shorten it" in long.message
    assert by_target["country"].message == (
        "Rule “active ? 'GB' : 'XX' → country”: “XX” is not one of the choices (GB, IE). "
        "Add the transform “choice_map” to the rule, or add the choice in the account and refresh the catalog."
    )
    assert (by_target["birthday"].code, by_target["birthday"].value) == (Code.INVALID_VALUE, "soon")


def test_an_expression_that_fails_names_itself() -> None:
    compiled = compile_mapping(content(RuleContent("name", expression="name + 'x'")), DATASET, OBJECT)

    (problem,) = compiled.map({**ROW, "name": None}).problems

    assert problem.message.startswith(
        "Rule “name + 'x' → name”: the expression “name + 'x'” has no value for this record: "
        "Unsupported operation: null + string."
    )


@pytest.mark.parametrize(
    ("mode", "null_policy", "refused"), [("upsert", "skip", True), ("update", "clear", True), ("update", "skip", False)]
)
def test_a_required_value_that_is_empty_is_refused_where_it_would_matter(mode: str, null_policy: str, refused: bool) -> None:
    strict = replace(OBJECT, properties=(Property("name", "Name", required=True),))
    compiled = compile_mapping(content(RuleContent("name", "name", null_policy=null_policy), mode=mode), DATASET, strict)

    mapped = compiled.map({"name": ""})

    assert [problem.code for problem in mapped.problems] == ([Code.REQUIRED] if refused else [])
    assert all("The value is empty, but “name” needs one. Fill it in" in problem.message for problem in mapped.problems)


@pytest.mark.parametrize(
    ("filter", "included", "undecided"),
    [
        ("deals > 5", True, False),
        ("deals > 6", False, False),
        ("name + deals == ''", False, True),
        ("deals", False, True),
        ("null", False, True),
    ],
)
def test_a_record_whose_filter_fails_is_neither_in_nor_out(filter: str, included: bool, undecided: bool) -> None:
    mapped = compile_mapping(content(filter=filter), DATASET, OBJECT).map(ROW)

    assert (mapped.included, mapped.undecided) == (included, undecided)
    assert [problem.target for problem in mapped.problems] == ([""] if undecided else [])
    assert all(f"The filter “{filter}”" in problem.message for problem in mapped.problems)


def test_content_goes_through_json_and_its_digest_sees_every_change() -> None:
    assert MappingContent.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL
    changed = [
        replace(FULL, filter=""),
        replace(FULL, segment="mine"),
        replace(FULL, mode=Mode.UPDATE),
        replace(FULL, match=MatchRule()),
        replace(FULL, rules=FULL.rules[1:]),
        replace(FULL, rules=(*FULL.rules[:-1], replace(FULL.rules[-1], null_policy="skip"))),
    ]
    assert len({one.digest for one in (FULL, *changed)}) == len(changed) + 1


def test_the_compiled_digest_also_sees_the_properties_definitions() -> None:
    longer = replace(OBJECT, properties=(Property("name", "Name", schema={"maxLength": 20}), *OBJECT.properties[1:]))
    unrelated = replace(OBJECT, properties=(*OBJECT.properties, Property("new", "New")))
    digests = [compile_mapping(content(), DATASET, one).digest for one in (OBJECT, longer, unrelated)]

    assert digests[0] != digests[1]
    assert digests[0] == digests[2]


def test_a_property_the_account_lost_suspends_its_rule_only() -> None:
    lost = replace(OBJECT, associations=(), properties=tuple(p for p in OBJECT.properties if p.name != "birthday"))
    closed = replace(lost, properties=tuple(replace(p, read_only=p.name == "country") for p in lost.properties))

    compiled = compile_published(FULL, DATASET, closed)

    assert set(compiled.rules) == {"name", "domain", "seen", "deals", "tags"}
    advice = "The rule is suspended. Restore it there and refresh the catalog, or remove the rule and publish again."
    assert [str(problem) for problem in compiled.suspended] == [
        f"Rule “born → birthday”: “contacts” no longer has the property “birthday”. {advice}",
        f"Rule “active ? 'GB' : 'XX' → country”: The property “country” is now read-only. {advice}",
        f"Rule “employer → companies”: “contacts” can no longer be associated with “companies”. {advice}",
    ]


def test_a_lost_property_that_matching_stands_on_stops_the_mapping() -> None:
    lost = replace(OBJECT, properties=tuple(p for p in OBJECT.properties if p.name != "domain"))

    with pytest.raises(MappingInvalid, match="no longer has the property “domain”") as told:
        compile_published(FULL, DATASET, lost)
    assert "the sync cannot run without it" in str(told.value)
    assert "match step has to be deleted too" in str(told.value)
    assert "suspended" not in str(told.value)


def test_a_preview_shows_good_rules_beside_wrong_ones() -> None:
    draft = content(
        RuleContent("name", "name", transforms=({"name": "upper"},)),
        RuleContent("id", "name"),
        RuleContent("country", "website"),
        RuleContent("companies", "employer", association=True),
        match=MatchRule((MatchStep("name"),)),
    )
    plan = PreviewPlan(draft, DATASET, OBJECT)

    shown = plan.show("1", {name: ROW[name] for name in plan.fields})

    name, wrong, invalid, link = shown.rules
    assert (name.source, name.mapped, name.value, name.problem) == ("Acme", "ACME", "ACME", "")
    assert wrong.problem == "The property “id” is read-only. Choose another, or remove the rule."
    assert "is not one of the choices (GB, IE)" in invalid.problem
    assert (link.association, link.value) == (True, ("3", "7"))
    assert [str(problem) for problem in shown.problems] == ["Rule “name → id”: " + wrong.problem]
    assert shown.match_values == ((0, "acme"),)


def test_a_preview_of_a_draft_in_which_all_is_wrong_still_says_why() -> None:
    plan = PreviewPlan(MappingContent((RuleContent("id", "x"),), filter="("), DATASET, OBJECT)

    shown = plan.show("1", {})

    assert (plan.fields, shown.included) == ((), False)
    assert "has no field “x”" in shown.rules[0].problem
    assert [problem.where for problem in shown.problems] == ["Rule “x → id”", "Rule “x → id”", "Filter"]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(alphabet=st.characters(codec=None)),
    st.dates(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.binary(max_size=3),
    st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
)
WIDE = content(
    *FULL.rules,
    RuleContent("email", expression="coalesce(name, website)", transforms=({"name": "lower"},)),
    match=FULL.match,
    filter="deals != 5",
)
COMPILED = compile_mapping(WIDE, DATASET, OBJECT)


@given(st.fixed_dictionaries({name: SCALARS | st.lists(SCALARS, max_size=3) for name in COMPILED.fields}))
def test_no_row_raises_and_every_target_has_a_value_or_a_problem(row: dict[str, Any]) -> None:
    mapped = COMPILED.map(row)

    if mapped.included:
        assert set(mapped.properties) | {problem.target for problem in mapped.problems} == set(COMPILED.rules)
        assert len(mapped.properties) + len(mapped.problems) == len(COMPILED.rules)
    assert all(problem.message and len(problem.value) <= 80 for problem in mapped.problems)
    assert all(value == value.strip() != "" for _, value in COMPILED.match_values(row))


def test_a_decimal_from_the_database_is_a_plain_number() -> None:
    compiled = compile_mapping(content(RuleContent("deals", "deals")), DATASET, OBJECT)

    assert compiled.map({"deals": Decimal("10.50")}).properties == {"deals": Decimal("10.5")}
