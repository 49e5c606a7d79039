"""What an account offers is stored without loss, and what changed is said, not applied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import strategies as st
from syncline.catalog import codec, service
from syncline.catalog.diff import Diff, ObjectChange, compare, compare_object
from syncline.connections.service import check, save_credentials
from syncline.contract import AssociationType, AuthError, Choice, ConfigError, HostRefused, Kind, ObjectType, Op, Property
from syncline.models import Connection, ConnectionState, ObjectSnapshot

text = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
properties = st.builds(
    Property,
    name=text,
    label=text,
    kind=st.sampled_from(Kind),
    schema=st.dictionaries(text, plain, max_size=3),
    choices=st.lists(st.builds(Choice, text, text), max_size=3).map(tuple),
    read_only=st.booleans(),
    required=st.booleans(),
    unique=st.booleans(),
    group=text,
    description=text,
)
object_types = st.builds(
    ObjectType,
    key=text,
    title=text,
    properties=st.lists(properties, max_size=4).map(tuple),
    batch_sizes=st.dictionaries(st.sampled_from(Op), st.integers(1, 1000)),
    visibility_lag=st.floats(0, 100),
    unique_key=st.none() | text,
    key_property=st.none() | properties,
    associations=st.lists(st.builds(AssociationType, text, text), max_size=3).map(tuple),
    page_size=st.integers(1, 1000),
    count=st.none() | st.integers(0, 10**9),
    bulk_rows=st.integers(0, 10**6),
    bulk_match=st.lists(text, max_size=2).map(tuple),
    pull_since=st.booleans(),
    pull_archived=st.booleans(),
    pull_history=st.booleans(),
    follow=st.booleans(),
    log=st.booleans(),
    dead_letters=text,
)


@pytest.mark.unit
@given(object_types)
def test_json_and_back_loses_nothing(one: ObjectType) -> None:
    import json

    there = json.loads(json.dumps(codec.to_json(one)))

    assert codec.from_json(there) == one
    assert codec.digest(there) == codec.digest(codec.to_json(one))


@pytest.mark.unit
def test_the_codec_knows_every_field_of_the_contract() -> None:
    one = ObjectType("k", "t", (Property("n", "l"),), {Op.CREATE: 1}, key_property=Property("n", "l"))
    stored = codec.to_json(one)

    assert set(stored) == set(ObjectType.__dataclass_fields__)
    assert set(stored["properties"][0]) == set(stored["key_property"]) == set(Property.__dataclass_fields__)


@pytest.mark.unit
@given(object_types, object_types)
def test_a_digest_tells_definitions_apart_but_not_counts(one: ObjectType, other: ObjectType) -> None:
    first, second = codec.digest(codec.to_json(one)), codec.digest(codec.to_json(other))

    assert (first == second) == (replace(one, count=None) == replace(other, count=None))
    assert first == codec.digest(codec.to_json(replace(one, count=123)))


THINGS = ObjectType("things", "Things", (Property("a", "A"), Property("b", "B")), {Op.UPSERT: 10})


@pytest.mark.unit
def test_a_difference_names_objects_properties_and_aspects() -> None:
    after = replace(THINGS, properties=(Property("a", "A", Kind.NUMBER, read_only=True), Property("c", "C")), count=9)
    diff = compare({"things": THINGS, "old": THINGS}, {"things": after, "new": THINGS})

    assert (diff.added, diff.removed) == (("new",), ("old",))
    (change,) = diff.changed
    assert (change.key, change.added, change.removed, change.itself) == ("things", ("c",), ("b",), False)
    assert [(one.name, one.aspects) for one in change.changed] == [("a", ("kind", "read_only"))]


@pytest.mark.unit
def test_more_records_are_no_difference_and_other_batch_sizes_are() -> None:
    assert compare_object(THINGS, replace(THINGS, count=7)) is None
    assert compare_object(THINGS, replace(THINGS, batch_sizes={Op.UPSERT: 5})) == ObjectChange("things", itself=True)
    assert not Diff()


@pytest.fixture
def connection(vendor: Any, db: None) -> Connection:
    owner = User.objects.create_user("ann")
    made = Connection.objects.create(connector="toy", name="c", owner=owner, settings={"url": vendor.url})
    save_credentials(made, "token", {"token": vendor.static_token})
    return made


def names(connection: Connection) -> dict[str, list[str]]:
    return {one.key: [each.name for each in one.properties] for one in service.objects(connection)}


def test_refresh_stores_what_is_offered_and_says_what_changed(vendor: Any, connection: Connection) -> None:
    first = service.refresh(connection)
    again = service.refresh(connection)
    vendor.objects = {"things": ["name", "colour"], "people": ["email"]}
    changed = service.refresh(connection)

    assert first == Diff(added=("things",))
    assert not again
    assert changed == Diff(added=("people",), changed=(ObjectChange("things", added=("colour",), removed=("size",)),))
    assert names(connection) == {"people": ["email"], "things": ["name", "colour"]}


def test_an_object_that_went_is_kept_as_gone_and_may_come_back(vendor: Any, connection: Connection) -> None:
    service.refresh(connection)
    vendor.objects = {"people": ["email"]}
    assert service.refresh(connection).removed == ("things",)

    with pytest.raises(ConfigError, match=r"no longer offers Things \(things\).*choose another"):
        service.object_type(connection, "things")
    assert ObjectSnapshot.objects.count() == 2
    assert service.refresh(connection) == Diff()
    vendor.objects = {"people": ["email"], "things": ["name"]}
    assert service.refresh(connection).added == ("things",)
    assert [one.name for one in service.object_type(connection, "things").properties] == ["name"]


def test_an_object_never_seen_is_named_with_the_next_step(connection: Connection) -> None:
    with pytest.raises(ConfigError, match=r"c has no object 'ghosts'.*Refresh the catalog"):
        service.object_type(connection, "ghosts")


def test_only_missing_properties_are_created(vendor: Any, connection: Connection) -> None:
    service.refresh(connection)
    wanted = [Property("name", "Name"), Property("ours", "Ours")]
    vendor.objects["elsewhere"] = []
    before = service.object_type(connection, "things")
    after = service.create_missing(connection, before, wanted)

    assert [one.name for one in after.properties] == ["name", "size", "ours"]
    assert "elsewhere" not in names(connection), "what else changed is for a refresh to tell"
    vendor.calls.clear()
    assert service.create_missing(connection, after, wanted) == after
    assert not [call for call in vendor.calls if call.startswith("POST")]
    assert service.refresh(connection).added == ("elsewhere",)


def test_a_refused_discovery_marks_the_connection_and_keeps_the_catalog(vendor: Any, connection: Connection) -> None:
    check(connection)
    service.refresh(connection)
    vendor.static_token = "changed"

    with pytest.raises(AuthError):
        service.refresh(connection)
    connection.refresh_from_db()
    assert connection.state == "reconnect"
    assert names(connection) == {"things": ["name", "size"]}


def test_what_this_process_may_not_call_says_nothing_about_the_account(
    vendor: Any, connection: Connection, settings: Any
) -> None:
    service.refresh(connection)
    settings.SYNCLINE_ALLOW_LOOPBACK = False
    with pytest.raises(HostRefused, match="may not call"):
        service.refresh(Connection.objects.get(pk=connection.pk))
    assert Connection.objects.get(pk=connection.pk).state != ConnectionState.SETTINGS


def test_settings_that_were_wrong_are_right_again_when_the_account_answers(vendor: Any, connection: Connection) -> None:
    Connection.objects.filter(pk=connection.pk).update(state=ConnectionState.SETTINGS, state_reason="Wrong.")
    service.refresh(Connection.objects.get(pk=connection.pk))
    now = Connection.objects.get(pk=connection.pk)
    assert (now.state, now.state_reason) == (ConnectionState.OK, "")


def test_reading_the_catalog_takes_one_query(vendor: Any, connection: Connection, django_assert_num_queries: Any) -> None:
    vendor.objects = {f"thing{number}": ["a", "b"] for number in range(20)}
    service.refresh(connection)

    with django_assert_num_queries(1):
        assert len(service.objects(connection)) == 20
    with django_assert_num_queries(1):
        service.object_type(connection, "thing3")
