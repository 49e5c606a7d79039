"""What people and accounts get wrong: a sentence that says what, where and what next; the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline.connections import service as connections
from syncline.connections.models import Connection
from syncline.contract import AuthError
from syncline.ledger.models import ErrorGroup, Link
from syncline.runs.models import Run
from syncline.runs.push import sender
from syncline.syncs import publish
from syncline.syncs.engine import MappingInvalid
from syncline.syncs.models import FieldRule, Sync
from syncline_companies.models import Company, Employee
from syncline_host.demo.scenario import connect_by_token, make_syncs, run_to_end
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = pytest.mark.django_db(transaction=True)
COMPANIES = 12


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False) as sandbox:
        yield sandbox


class World:
    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.user = User.objects.create_superuser("ann", "ann@example.org", "x")
        call_command("populate_database", companies=COMPANIES, verbosity=0)
        self.connection = connect_by_token(self.user, sandbox)
        self.companies, self.people = make_syncs(self.connection, self.user)

    def push(self) -> Run:
        return run_to_end(self.companies)

    def live(self) -> list[str]:
        return [record["properties"]["name"] for record in self.sandbox.admin.live("companies")]

    def rule(self, target: str, **values: object) -> None:
        assert FieldRule.objects.filter(sync=self.companies, target=target).update(**values) == 1
        publish.publish(Sync.objects.get(pk=self.companies.pk), self.user)
        self.companies.refresh_from_db()


@pytest.fixture
def world(running: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(sender, "PAUSES", (0.05, 0.05))
    running.admin.reset()
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True):
        yield World(running)


def group(run: Run, code: str) -> ErrorGroup:
    return ErrorGroup.objects.get(run_id=run.pk, code=code)


def test_a_wrong_token(world: World) -> None:
    wrong = Connection.objects.create(
        connector="hubspot", name="Wrong", owner=world.user, settings={"api_url": world.sandbox.url, "app_url": world.sandbox.url}
    )
    with pytest.raises(AuthError, match=r"[Rr]econnect|[Cc]onnect") as caught:
        _connect(wrong, "pat-wrong-canary")
    assert "pat-wrong-canary" not in str(caught.value)
    assert world.push().state == "succeeded", "the other connection goes on"


def _connect(connection: Connection, token: str) -> None:
    connections.save_credentials(connection, "token", {"token": token})
    connections.check(connection)


def test_a_revoked_grant(world: World) -> None:
    world.sandbox.admin.revoke_tokens(world.sandbox.token)
    run = world.push()
    world.connection.refresh_from_db()
    assert run.state == "failed"
    assert "Reconnect" in run.reason
    assert world.connection.state == "reconnect"
    token = world.sandbox.token = world.sandbox.admin.issue_token()
    connections.save_credentials(world.connection, "token", {"token": token})
    world.connection.refresh_from_db()
    connections.check(world.connection)
    again = world.push()
    assert (again.state, again.created) == ("succeeded", COMPANIES)
    assert len(world.live()) == COMPANIES


def test_a_removed_property(world: World) -> None:
    world.push()
    world.sandbox.admin.delete_property("companies", "syncline_deal_count")
    Company.objects.update(description="Changed")
    run = world.push()
    assert run.updated == COMPANIES, "what else changed is sent"
    catalog.refresh(world.connection)
    Company.objects.update(description="Changed again")
    told = world.push()
    assert (told.state, told.updated) == ("problems", COMPANIES)
    assert "suspended" in told.reason
    assert "syncline_deal_count" in ErrorGroup.objects.get(run_id=told.pk, code="suspended").message


def test_a_too_long_value(world: World) -> None:
    one = Company.objects.order_by("id")[3]
    Company.objects.filter(pk=one.pk).update(description="x" * 70_000)
    run = world.push()
    assert (run.state, run.rejected, run.created) == ("problems", 1, COMPANIES - 1)
    told = group(run, "too_long")
    assert (told.property, told.samples) == ("description", [str(one.pk)])
    assert "description" in told.message
    assert "truncate" in told.next_step
    Company.objects.filter(pk=one.pk).update(description="short")
    again = world.push()
    assert (again.state, again.created, again.unchanged) == ("succeeded", 1, COMPANIES - 1)


def test_an_unknown_choice(world: World) -> None:
    world.push()
    one = Employee.objects.order_by("id")[0]
    Employee.objects.filter(pk=one.pk).update(gender="X")
    run = run_to_end(world.people)
    told = ErrorGroup.objects.get(run_id=run.pk, state="rejected")
    assert (run.rejected, told.property, told.samples) == (1, "gender", [str(one.pk)])
    assert "X" in told.message
    assert "choice" in told.message + told.next_step
    assert run.created == run.read - 1


@pytest.mark.parametrize("expression", ["name +", "nowhere + 'x'", "name.explode()"])
def test_an_unreadable_expression_is_not_published(world: World, expression: str) -> None:
    before = world.companies.current
    with pytest.raises(MappingInvalid) as caught:
        world.rule("description", source="", expression=expression, transforms=[])
    assert "description" in str(caught.value)
    world.companies.refresh_from_db()
    assert world.companies.current == before
    assert world.push().state == "succeeded", "the published version goes on"


def test_a_mapping_to_a_read_only_property_is_not_published(world: World) -> None:
    FieldRule.objects.create(sync=world.companies, source="created", target="createdate", position=99)
    with pytest.raises(MappingInvalid, match="createdate"):
        publish.publish(world.companies, world.user)
    assert world.push().created == COMPANIES


def test_duplicates_in_the_register(world: World) -> None:
    first = Company.objects.filter(website__gt="").order_by("id").first()
    assert first is not None
    for suffix in ("", "/about"):
        Company.objects.create(name=f"Twin{suffix}", website=f"www.{first.website.split('//')[-1].removeprefix('www.')}")
    run = world.push()
    assert (run.state, run.ambiguous, run.created) == ("problems", 3, COMPANIES - 1)
    told = group(run, "shared_here")
    assert "shares domain" in told.message
    assert "Correct or merge" in told.next_step
    assert len(world.live()) == COMPANIES - 1
    again = world.push()
    assert (again.ambiguous, again.unchanged, again.calls) == (3, COMPANIES - 1, 0)


def test_a_company_without_name(world: World) -> None:
    nameless = Company.objects.create(name="", website="nameless-example.org")
    nothing = Company.objects.create(name="", website="")
    run = world.push()
    assert run.read == COMPANIES + 2
    assert run.created + run.rejected == COMPANIES + 2
    assert Link.objects.get(local_key=str(nameless.pk)).state == "delivered", "its domain is enough"
    link = Link.objects.get(local_key=str(nothing.pk))
    assert link.state == "rejected"
    told = ErrorGroup.objects.get(run_id=run.pk, state="rejected")
    assert str(nothing.pk) in told.samples
    assert told.message
    assert told.next_step
