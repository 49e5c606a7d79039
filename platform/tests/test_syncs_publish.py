"""From draft to version: permission, problems, numbers, suggestions, missing properties, previews."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import AbstractBaseUser, Permission, User
from django.core.exceptions import PermissionDenied
from django.db import connections as databases
from django.db.models import QuerySet
from django.utils import timezone
from syncline import registry
from syncline.catalog import codec
from syncline.contract import (
    AppSpec,
    Capability,
    Choice,
    ConfigError,
    ConnectorInfo,
    ConnectorSpec,
    Dataset,
    DatasetInfo,
    Field,
    Kind,
    MatchRule,
    MatchStep,
    ObjectType,
    Op,
    Property,
    Segment,
    SuggestedMapping,
    SuggestedRule,
    hookimpl,
)
from syncline.models import Connection, FieldRule, Grant, MappingVersion, MatchStepRow, ObjectSnapshot, Sync
from syncline.registry import Connector, Registry
from syncline.syncs import publish
from syncline.syncs.engine import MappingContent, MappingInvalid

pytestmark = pytest.mark.django_db

KEY = Property("our_key", "Our key", unique=True)
OBJECT = ObjectType(
    "contacts",
    "Contacts",
    (
        Property("email", "E-mail", Kind.EMAIL),
        Property("name", "Name", schema={"maxLength": 5}),
        Property("id", "Id", read_only=True),
    ),
    {Op.CREATE: 100, Op.UPDATE: 100},
    key_property=KEY,
)
SUGGESTED = SuggestedMapping(
    (
        SuggestedRule("email", "email", transforms=({"name": "trim"},), null_policy="skip"),
        SuggestedRule("nick", "username", write_mode="if_new"),
    ),
    MatchRule((MatchStep("email", also=("id", "other_emails"), normalise="email"),)),
    create=(Property("nick", "Nickname", group="ours"), KEY),
)


class Users(Dataset):
    info = DatasetInfo(
        "auth.user",
        "Users",
        (
            Field("username", "User name"),
            Field("email", "E-mail", Kind.EMAIL),
            Field("is_staff", "Staff", Kind.BOOLEAN),
            Field("first_name", "First name", choices=(Choice("a", "A"),)),
        ),
        (Segment("staff", "Staff"), Segment("mine", "Only me", needs_owner=True)),
        permission="auth.view_user",
    )

    def rows(self, fields: Collection[str], segment: str = "", owner: AbstractBaseUser | None = None) -> QuerySet[Any]:
        everybody = User.objects.all()
        if segment == "mine":
            return everybody.filter(username=owner.get_username() if owner else "")
        return everybody.filter(is_staff=True) if segment == "staff" else everybody


class App(AppSpec):
    label = "fake"

    @hookimpl
    def register_datasets(self, register: Any) -> None:
        register(Users())


class Plugin(ConnectorSpec):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return ConnectorInfo("fake", "Fake", "1", ">=1", frozenset({Capability.SUGGEST_MAPPING}))

    @hookimpl
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        return SUGGESTED if object_type.key == "contacts" else SuggestedMapping()


class Plugins(Registry):
    @property
    def connectors(self) -> Mapping[str, Connector]:
        return {"fake": Connector("fake", Plugin())}


@pytest.fixture(autouse=True)
def plugins() -> Iterator[None]:
    with registry.using(Plugins(apps=[App()])):
        yield


@pytest.fixture
def owner() -> User:
    person = User.objects.create_user("owner", "Owner@example.org")
    person.user_permissions.add(Permission.objects.get(codename="view_user", content_type__app_label="auth"))
    return person


def offer(connection: Connection, object_type: ObjectType) -> None:
    content = codec.to_json(object_type)
    known = {"title": object_type.title, "content": content, "digest": "d", "discovered_at": timezone.now()}
    ObjectSnapshot.objects.update_or_create(connection=connection, key=object_type.key, defaults=known)


@pytest.fixture
def sync(owner: User) -> Sync:
    connection = Connection.objects.create(connector="fake", name="Ours", owner=owner)
    offer(connection, OBJECT)
    sync = Sync.objects.create(name="People", connection=connection, dataset="auth.user", object_type="contacts")
    FieldRule.objects.create(sync=sync, position=1, source="email", target="email")
    MatchStepRow.objects.create(sync=sync, position=1, property="email", normalise="email")
    return sync


def test_a_draft_is_published_as_a_numbered_version(sync: Sync, owner: User) -> None:
    version = publish.publish(sync, owner)

    assert (version.number, version.published_by, len(version.digest)) == (1, owner, 16)
    sync.refresh_from_db()
    assert sync.current == version
    assert MappingContent.from_json(version.content) == publish.draft_content(sync)
    assert publish.compiled(version).fields == ("email",)


def test_publishing_unchanged_makes_no_version_and_a_change_makes_the_next(sync: Sync, owner: User) -> None:
    first = publish.publish(sync, owner)
    assert publish.publish(sync, owner) == first

    sync.rules.update(null_policy="skip")
    second = publish.publish(sync, owner)
    sync.rules.update(null_policy="clear")
    third = publish.publish(sync, owner)

    assert [second.number, third.number] == [2, 3]
    assert third.digest == first.digest
    assert MappingVersion.objects.count() == 3


def test_the_draft_has_neither_disabled_rules_nor_white_space_around_names(sync: Sync) -> None:
    FieldRule.objects.create(sync=sync, position=0, source=" username ", target=" name ")
    FieldRule.objects.create(sync=sync, position=3, source="nonsense", target="id", enabled=False)

    assert [(rule.source, rule.target) for rule in publish.draft_content(sync).rules] == [
        ("username", "name"),
        ("email", "email"),
    ]


def test_a_draft_with_problems_is_refused_with_all_of_them(sync: Sync, owner: User) -> None:
    FieldRule.objects.create(sync=sync, position=2, source="username", target="id", transforms="trim")
    sync.filter = "is_staff ="
    sync.save()

    with pytest.raises(MappingInvalid) as caught:
        publish.publish(sync, owner)

    assert list(caught.value.problems) == publish.problems(sync)
    assert [problem.where for problem in caught.value.problems] == ["Rule “username → id”", "Rule “username → id”", "Filter"]
    assert not MappingVersion.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": "auth.robot"}, "No installed app offers the dataset auth.robot."),
        ({"object_type": "deals"}, "has no object 'deals' in its catalog"),
    ],
)
def test_a_sync_without_dataset_or_object_says_so(sync: Sync, change: dict[str, str], said: str) -> None:
    Sync.objects.filter(pk=sync.pk).update(**change)

    (problem,) = publish.problems(Sync.objects.get(pk=sync.pk))

    assert problem.where == "Sync"
    assert said in problem.message


def test_only_who_may_use_connection_and_dataset_publishes(sync: Sync) -> None:
    stranger = User.objects.create_user("stranger")
    with pytest.raises(PermissionDenied, match="stranger may not use Ours"):
        publish.publish(sync, stranger)

    Grant.objects.create(connection=sync.connection, user=stranger, may_run=True)
    with pytest.raises(PermissionDenied, match=r"An administrator can give the permission auth\.view_user"):
        publish.publish(sync, stranger)

    stranger.user_permissions.add(Permission.objects.get(codename="view_user", content_type__app_label="auth"))
    assert publish.publish(sync, User.objects.get(pk=stranger.pk)).number == 1


def test_a_version_is_never_changed(sync: Sync, owner: User) -> None:
    version = publish.publish(sync, owner)

    version.number = 7
    with pytest.raises(TypeError, match="never changed"):
        version.save()


def test_a_sync_goes_with_its_versions(sync: Sync, owner: User) -> None:
    publish.publish(sync, owner)

    sync.delete()

    assert not MappingVersion.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_publishing_twice_at_once_makes_one_version(sync: Sync, owner: User) -> None:
    def work(_: int) -> int:
        try:
            return publish.publish(Sync.objects.get(pk=sync.pk), owner).number
        finally:
            databases.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [1, 1, 1, 1]


def test_a_property_the_account_lost_suspends_its_rule(sync: Sync, owner: User) -> None:
    FieldRule.objects.create(sync=sync, position=2, source="username", target="name")
    version = publish.publish(sync, owner)
    offer(sync.connection, replace(OBJECT, properties=OBJECT.properties[:1]))

    compiled = publish.compiled(version)

    assert [problem.where for problem in compiled.suspended] == ["Rule “username → name”"]
    assert set(compiled.rules) == {"email"}


def test_a_suggestion_replaces_the_draft_and_leaves_out_properties_that_are_not_there(sync: Sync) -> None:
    publish.apply_suggestion(sync)

    draft = publish.draft_content(sync)
    assert [(rule.source, rule.target, rule.write_mode, rule.null_policy) for rule in draft.rules] == [
        ("email", "email", "overwrite", "skip"),
        ("username", "nick", "if_new", "clear"),
    ]
    assert draft.rules[0].transforms == ({"name": "trim"},)
    assert draft.match.steps == (MatchStep("email", ("id",), "email"),)


def test_no_suggestion_leaves_the_draft_alone(sync: Sync) -> None:
    offer(sync.connection, replace(OBJECT, key="deals"))
    sync.object_type = "deals"

    with pytest.raises(ConfigError, match=r"suggests nothing for auth\.user and deals\. Add the rules by hand"):
        publish.apply_suggestion(sync)

    assert sync.rules.count() == 1


def test_missing_properties_are_those_the_draft_writes_and_the_key(sync: Sync) -> None:
    FieldRule.objects.create(sync=sync, position=2, source="username", target="nick")
    FieldRule.objects.create(sync=sync, position=3, source="is_staff", target="works_here")
    FieldRule.objects.create(sync=sync, position=4, expression="'x'", target="made_up")

    missing = publish.missing_properties(sync)

    assert missing == (
        Property("nick", "Nickname", group="ours"),
        Property("works_here", "Staff", Kind.BOOLEAN),
        Property("made_up", "Made up"),
        KEY,
    )
    offer(sync.connection, replace(OBJECT, properties=(*OBJECT.properties, *missing)))
    assert publish.missing_properties(sync) == ()
    assert publish.problems(sync) == []


def test_an_empty_draft_misses_what_the_suggestion_needs(sync: Sync) -> None:
    sync.rules.all().delete()

    assert [prop.name for prop in publish.missing_properties(sync)] == ["nick", "our_key"]


def test_a_preview_shows_a_real_record(sync: Sync, owner: User) -> None:
    FieldRule.objects.create(
        sync=sync, position=2, source="username", target="name", transforms=[{"name": "suffix", "text": "!!"}]
    )
    FieldRule.objects.create(sync=sync, position=3, source="username", target="id")

    shown = publish.preview(sync, str(owner.pk))

    email, name, wrong = shown.rules
    assert (email.source, email.value) == ("Owner@example.org", "owner@example.org")
    assert (name.source, name.mapped, name.value) == ("owner", "owner!!", None)
    assert "“owner!!” has 7 characters; at most 5 are allowed" in name.problem
    assert "is read-only" in wrong.problem
    assert (shown.included, shown.match_values) == (True, ((0, "owner@example.org"),))


@pytest.mark.parametrize(("segment", "included"), [("staff", False), ("mine", True), ("gone", False)])
def test_a_preview_knows_the_segment(sync: Sync, owner: User, segment: str, included: bool) -> None:
    sync.segment = segment

    assert publish.preview(sync, str(owner.pk)).included is included


@pytest.mark.parametrize("key", ["0", "x", ""])
def test_a_preview_of_no_record_says_so(sync: Sync, key: str) -> None:
    with pytest.raises(ConfigError, match=f"Users has no record '{key}'. Choose another record"):
        publish.preview(sync, key)


def test_a_pull_is_suggested_only_what_can_be_pulled_and_needs_no_property(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    writable = tuple(replace(field, writable=field.name == "email") for field in Users.info.fields)
    monkeypatch.setattr(Users, "info", replace(Users.info, fields=writable))
    sync.direction = Sync.Direction.PULL

    publish.apply_suggestion(sync)

    assert [(rule.source, rule.target, rule.owner) for rule in sync.rules.all()] == [("email", "email", "there")]
    assert publish.missing_properties(sync) == ()


def test_a_two_way_suggestion_says_who_decides(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = replace(SUGGESTED, rules=tuple(replace(rule, owner="newest") for rule in SUGGESTED.rules))
    monkeypatch.setattr(Users, "info", replace(Users.info, fields=tuple(replace(f, writable=True) for f in Users.info.fields)))
    monkeypatch.setattr(f"{__name__}.SUGGESTED", shared)
    sync.direction = Sync.Direction.TWO_WAY

    publish.apply_suggestion(sync)

    assert [(rule.owner, rule.transforms) for rule in sync.rules.all()] == [("newest", []), ("newest", [])]
