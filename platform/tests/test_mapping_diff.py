"""What is written: only what changed, by write mode and null policy; and the next run is silent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from syncline.contract import DatasetInfo, Field, Kind, ObjectType, Op, Property, Value
from syncline.syncs.engine import (
    CompiledMapping,
    MappingContent,
    NullPolicy,
    RuleContent,
    WriteMode,
    compile_mapping,
    fingerprint,
    plan_write,
)

pytestmark = pytest.mark.unit

DATASET = DatasetInfo("a.b", "B", (Field("text", "Text"), Field("tags", "Tags", many=True)))
OBJECT = ObjectType(
    "o",
    "O",
    (Property("text", "Text", schema={"maxLength": 5}), Property("tags", "Tags", Kind.SET)),
    {Op.CREATE: 1, Op.UPDATE: 1},
)


def mapping(*rules: tuple[str, str, str]) -> CompiledMapping:
    content = MappingContent(tuple(RuleContent(t, t, write_mode=mode, null_policy=policy) for t, mode, policy in rules))
    return compile_mapping(content, DATASET, OBJECT)


def of(**values: Value) -> dict[str, str]:
    return {name: fingerprint(value) for name, value in values.items()}


UNKNOWN = None
#: write mode, null policy, our value, delivered, creating, remote → sent, settled as ours, needs remote
CASES: list[tuple[str, str, Any, Any, bool, Any, Any, bool, bool]] = [
    # overwrite
    ("overwrite", "clear", "new", of(text="old"), False, None, {"text": "new"}, True, False),
    ("overwrite", "clear", "same", of(text="same"), False, None, {}, True, False),
    ("overwrite", "clear", "same", UNKNOWN, False, None, {"text": "same"}, True, False),
    ("overwrite", "clear", "same", of(text="same"), True, None, {"text": "same"}, True, False),
    ("overwrite", "clear", "same", UNKNOWN, False, {"text": "same"}, {}, True, False),
    ("overwrite", "clear", "new", UNKNOWN, False, {"text": "old"}, {"text": "new"}, True, False),
    ("overwrite", "clear", None, of(text="old"), False, None, {"text": None}, True, False),
    ("overwrite", "clear", None, of(text="old"), False, {}, {"text": None}, True, False),
    ("overwrite", "clear", None, UNKNOWN, True, None, {}, True, False),
    ("overwrite", "skip", None, of(text="old"), False, None, {}, True, False),
    # if_new
    ("if_new", "clear", "new", UNKNOWN, True, None, {"text": "new"}, True, False),
    ("if_new", "clear", "new", of(text="old"), False, None, {}, True, False),
    ("if_new", "clear", "new", UNKNOWN, False, None, {}, True, False),
    # if_empty
    ("if_empty", "clear", "new", UNKNOWN, True, None, {"text": "new"}, True, False),
    ("if_empty", "clear", "same", of(text="same"), False, None, {}, True, False),
    ("if_empty", "clear", "new", of(text="old"), False, None, {}, False, True),
    ("if_empty", "clear", "new", UNKNOWN, False, {"text": "theirs"}, {}, True, False),
    ("if_empty", "clear", "new", UNKNOWN, False, {"text": None}, {"text": "new"}, True, False),
    ("if_empty", "clear", "new", UNKNOWN, False, {}, {"text": "new"}, True, False),
    ("if_empty", "clear", None, of(text="old"), False, None, {}, True, False),
]


@pytest.mark.parametrize(("mode", "policy", "ours", "delivered", "creating", "remote", "sent", "settled", "needs"), CASES)
def test_what_one_property_takes(
    mode: str, policy: str, ours: Any, delivered: Any, creating: bool, remote: Any, sent: Any, settled: bool, needs: bool
) -> None:
    compiled = mapping(("text", mode, policy))

    write = plan_write(compiled, compiled.map({"text": ours}), delivered, creating, remote)

    assert write.properties == sent
    assert (write.settled == of(text=ours)) is settled
    assert write.needs_remote == (frozenset({"text"}) if needs else frozenset())


@pytest.mark.parametrize(
    ("remote", "sent"),
    [
        (None, None),
        ({"tags": ("c",)}, {"tags": ("a", "b", "c")}),
        ({"tags": ("a", "b", "c")}, {}),
        ({"tags": None}, {"tags": ("a", "b")}),
        ({}, {"tags": ("a", "b")}),
    ],
)
def test_append_sends_the_union_and_settles_our_own_value(remote: Any, sent: Any) -> None:
    compiled = mapping(("tags", "append", "clear"))

    write = plan_write(compiled, compiled.map({"tags": ["b", "a"]}), {}, False, remote)

    if sent is None:
        assert (write.properties, write.settled, write.needs_remote) == ({}, {}, frozenset({"tags"}))
    else:
        assert (write.properties, write.settled) == (sent, of(tags=("a", "b")))


def test_what_still_needs_the_remote_value_keeps_what_was_delivered() -> None:
    compiled = mapping(("text", "if_empty", "clear"))

    assert plan_write(compiled, compiled.map({"text": "new"}), of(text="old"), False, None).settled == of(text="old")


def test_a_removed_rule_vanishes_without_a_call() -> None:
    compiled = mapping(("text", "overwrite", "clear"))

    write = plan_write(compiled, compiled.map({"text": "a"}), of(text="a", tags=("b",)), False, None)

    assert (write.properties, write.settled) == ({}, of(text="a"))


def test_a_rule_that_failed_keeps_what_was_delivered_and_sends_nothing() -> None:
    compiled = mapping(("text", "overwrite", "clear"), ("tags", "overwrite", "clear"))

    mapped = compiled.map({"text": "much too long", "tags": ["a"]})
    write = plan_write(compiled, mapped, of(text="old", tags=("z",)), False, None)

    assert len(mapped.problems) == 1
    assert write.properties == {"tags": ("a",)}
    assert write.settled == of(text="old", tags=("a",))


RULES = st.tuples(
    st.tuples(st.just("text"), st.sampled_from([m for m in WriteMode if m is not WriteMode.APPEND]), st.sampled_from(NullPolicy)),
    st.tuples(st.just("tags"), st.sampled_from(WriteMode), st.sampled_from(NullPolicy)),
)
TEXT = st.none() | st.text(alphabet="ab", max_size=7)
TAGS = st.lists(st.sampled_from("abc"), max_size=3)
REMOTE = st.fixed_dictionaries(
    {}, optional={"text": st.none() | st.sampled_from("ab"), "tags": st.none() | st.sampled_from([("a",), ("a", "b")])}
)


@given(
    rules=RULES,
    row=st.fixed_dictionaries({"text": TEXT, "tags": TAGS}),
    delivered=st.none()
    | st.dictionaries(st.sampled_from(["text", "tags", "gone"]), st.sampled_from([fingerprint("a"), fingerprint(None)])),
    creating=st.booleans(),
    remote=REMOTE,
)
def test_once_settled_the_next_run_is_silent(
    rules: tuple[tuple[str, str, str], ...],
    row: dict[str, Any],
    delivered: dict[str, str] | None,
    creating: bool,
    remote: dict[str, Value],
) -> None:
    compiled = mapping(*rules)
    mapped = compiled.map(row)

    blind = plan_write(compiled, mapped, delivered, creating, None)
    write = plan_write(compiled, mapped, delivered, creating, remote)
    again = plan_write(compiled, mapped, write.settled, False, None)

    assert (write.needs_remote, again.properties, again.needs_remote) == (frozenset(), {}, frozenset())
    assert again.settled == write.settled
    assert not blind.needs_remote & blind.properties.keys()
    assert not (creating and blind.needs_remote)
    assert set(mapped.properties) <= write.settled.keys() <= {"text", "tags"}
    assert not creating or None not in write.properties.values()


@given(
    rules=RULES,
    first=st.fixed_dictionaries({"text": TEXT, "tags": TAGS}),
    second=st.fixed_dictionaries({"text": TEXT, "tags": TAGS}),
    remote=REMOTE,
)
def test_applying_the_writes_keeps_the_promise_of_each_write_mode(
    rules: tuple[tuple[str, str, str], ...], first: dict[str, Any], second: dict[str, Any], remote: dict[str, Value]
) -> None:
    compiled, there, delivered = mapping(*rules), dict(remote), None
    for row in (first, second):
        before, mapped = dict(there), compiled.map(row)
        write = plan_write(compiled, mapped, delivered, False, there)
        there.update(write.properties)
        delivered = write.settled
        for target, mode, policy in rules:
            now, was, ours = there.get(target), before.get(target), mapped.properties.get(target)
            if mode == WriteMode.OVERWRITE and target in mapped.properties and (ours is not None or policy == NullPolicy.CLEAR):
                assert now == ours
            elif mode == WriteMode.APPEND:
                assert set(now or ()) == set(was or ()) | set(ours or ())  # type: ignore[arg-type]
            elif mode == WriteMode.IF_NEW or was is not None:
                assert now == was
