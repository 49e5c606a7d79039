"""A plan on its page and in the API: seen, filtered and applied by who may; and the commands."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from rich.console import Console
from syncline import cli, planning
from syncline.connections.models import Grant
from syncline.contract import ConfigError
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan.plan import Planner
from syncline.syncs.models import Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from pushing.lab import Lab, installed  # noqa: E402
from pushing.vendor import Vendor  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lab(client: Client) -> Iterator[Lab]:
    vendor = Vendor()
    with installed(vendor):
        lab = Lab(vendor)
        lab.owner.is_staff = True
        lab.owner.save()
        client.force_login(lab.owner)
        yield lab


@pytest.fixture
def plan(lab: Lab) -> Run:
    """Thirty are new, one is there under another name with a city that stays."""
    lab.people(31)
    sync = lab.sync({"name": {}, "email": {}, "city": {"write_mode": "if_empty"}})
    lab.vendor.seed("people", name="<Another>", email="p0@example.org", city="Oslo")
    return lab.run(sync, Run.Kind.PLAN)


@pytest.fixture
def looker(plan: Run) -> Client:
    """Somebody who was granted to look at the connection and may read the records."""
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    Grant.objects.create(connection=plan.sync.connection, user=user)
    client = Client()
    client.force_login(user)
    return client


def page_of(plan: Run) -> str:
    return reverse("admin:syncline_run_plan", args=[plan.pk])


def text(client: Client, address: str, **query: str | int) -> str:
    answer = client.get(address, query)
    assert answer.status_code == 200
    return answer.content.decode()


def do(client: Client, plan: Run, name: str = "apply", **data: str) -> str:
    answer = client.post(reverse("admin:syncline_run_do", args=[plan.pk, name]), data, follow=True)
    return answer.content.decode()


def test_the_page_shows_what_would_be_written_by_action_and_page(client: Client, plan: Run) -> None:
    shown = text(client, page_of(plan))
    assert re.findall(r"Planned: [^<]*", shown)[:1] == ["Planned: 30 to create, 1 to adopt."]
    assert "page 1 of 2" in shown
    adopted = text(client, page_of(plan), action="adopt")
    assert "<del>&lt;Another&gt;</del>" in adopted
    assert "<ins>Name 0</ins>" in adopted
    assert "stays as it is: written only if empty there" in adopted
    assert "u00001" not in adopted
    assert adopted.count("<article") == 1
    assert text(client, page_of(plan), action="create", page=2).count("<article") == 5
    assert "No record to show here" in text(client, page_of(plan), state="stale")


def test_a_plan_is_made_from_the_syncs_page_and_applied_after_a_question(client: Client, lab: Lab, plan: Run) -> None:
    sync_page = reverse("admin:syncline_sync_change", args=[plan.sync_id])
    make = reverse("admin:syncline_sync_do", args=[plan.sync_id, "plan"])
    assert make in text(client, sync_page)
    asked = do(client, plan)
    assert "create: 30" in asked
    assert "Write 31 records" in asked
    assert not plan.applications.exists()
    assert "it applies plan" in do(client, plan, confirmed="yes")
    run = plan.applications.get()
    assert (run.approved_by, run.requested_by, run.kind) == (lab.owner, lab.owner, "apply")
    assert LogEntry.objects.filter(object_id=str(plan.pk), change_message__contains="applies plan").exists()
    assert page_of(plan) in text(client, reverse("admin:syncline_run_change", args=[run.pk]))
    assert f"run {run.pk}" in text(client, page_of(plan))
    assert "is running already" in client.post(make, follow=True).content.decode()


def test_the_list_of_runs_says_what_a_plan_would_do_and_not_that_it_was_done(client: Client, plan: Run) -> None:
    shown = text(client, reverse("admin:syncline_run_changelist"))
    assert "to create" in shown
    assert " created" not in shown


def test_a_plan_of_an_older_mapping_says_why_it_cannot_be_applied(client: Client, lab: Lab, plan: Run) -> None:
    lab.rules(plan.sync, {"name": {}, "email": {}})
    said = "Another mapping was published since plan"
    assert said in text(client, page_of(plan))
    assert said in do(client, plan, confirmed="yes")
    assert not plan.applications.exists()


def test_who_may_only_look_applies_nothing_and_who_may_not_read_sees_no_values(looker: Client, plan: Run) -> None:
    shown = text(looker, page_of(plan), action="adopt")
    assert "You may look only" in shown
    assert "&lt;Another&gt;" in shown
    assert looker.post(reverse("admin:syncline_run_do", args=[plan.pk, "apply"]), {"confirmed": "yes"}).status_code == 403
    assert looker.post(reverse("admin:syncline_sync_do", args=[plan.sync_id, "plan"])).status_code == 403
    assert looker.post(f"/api/v1/plans/{plan.pk}/apply/").status_code == 403
    assert looker.post("/api/v1/plans/", {"sync": plan.sync_id}).status_code == 403
    User.objects.get(username="looker").user_permissions.clear()
    shown = text(looker, page_of(plan), action="adopt")
    assert "which you may not read" in shown
    assert "Another" not in shown
    assert looker.get(f"/api/v1/plans/{plan.pk}/rows/").status_code == 403


def test_strangers_find_no_plan(plan: Run) -> None:
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger", is_staff=True))
    assert stranger.get(page_of(plan)).status_code == 404
    assert stranger.get(f"/api/v1/plans/{plan.pk}/rows/").status_code == 404
    assert stranger.post(f"/api/v1/plans/{plan.pk}/apply/").status_code == 404


def test_a_run_that_is_no_plan_has_no_such_page(client: Client, lab: Lab, plan: Run) -> None:
    pushed = lab.run(plan.sync)
    assert client.get(page_of(pushed)).status_code == 404
    assert "is no plan" in do(client, pushed, confirmed="yes")
    assert client.post(f"/api/v1/plans/{pushed.pk}/apply/").status_code == 404


def test_the_api_plans_reads_rows_and_applies(client: Client, plan: Run) -> None:
    rows = client.get(f"/api/v1/plans/{plan.pk}/rows/", {"action": "adopt"}).json()
    assert rows["count"] == 1
    row = rows["results"][0]
    assert row["changes"]["name"] == ["<Another>", "Name 0"]
    assert row["kept"] == {"city": ["Oslo", "City 0", "if_empty"]}
    assert (row["action"], row["state"]) == ("adopt", "planned")
    assert len(client.get(f"/api/v1/plans/{plan.pk}/rows/", {"page_size": 10, "page": 4}).json()["results"]) == 1
    answer = client.post(f"/api/v1/plans/{plan.pk}/apply/")
    assert (answer.status_code, answer.json()["kind"], answer.json()["plan"]) == (201, "apply", plan.pk)
    assert client.post("/api/v1/plans/", {"sync": plan.sync_id}).status_code == 409
    assert client.post(f"/api/v1/runs/{answer.json()['id']}/cancel/").status_code == 200
    again = client.post("/api/v1/plans/", {"sync": plan.sync_id})
    assert (again.status_code, again.json()["kind"], again.json()["trigger"]) == (201, "plan", "api")
    assert Sync.objects.get().runs.count() == 3
    assert not PlanRow.objects.exclude(state="planned").exists()


def told(work: Callable[[Console], int]) -> tuple[int, str]:
    console = Console(record=True, width=160, file=StringIO())
    code = work(console)
    return code, console.export_text()


def test_the_commands_plan_show_ask_and_apply(lab: Lab) -> None:
    lab.people(3)
    sync = lab.sync()
    known = lab.vendor.seed("people", name="<b>Another", email="p0@example.org")
    assert planning.sync_named(str(sync.pk)) == planning.sync_named(sync.name) == sync
    with pytest.raises(ConfigError, match=f"There is no sync 'nothing'. Known ones: {sync.pk} "):
        planning.sync_named("nothing")

    code, said = told(lambda console: planning.plan(sync, console))

    plan = Run.objects.get()
    assert (code, lab.vendor.pushes) == (planning.DONE, [])
    for wanted in ("Nothing was written.", "<b>Another", "Name 0", f"syncline apply {plan.pk}"):
        assert wanted in said
    assert planning.question(planning.plan_numbered(plan.pk)) == "Write to Fake account: 2 × create, 1 × adopt what is there?"
    lab.vendor.tables["people"][known].properties["name"] = "Somebody"
    code, said = told(lambda console: planning.apply(plan, console))
    assert code == planning.INCOMPLETE
    assert "2 of 3 records" in said
    assert "stale: u00000: Changed there since: name was “<b>Another”, is “Somebody”." in said
    with pytest.raises(ConfigError, match="nothing left to be written"):
        planning.question(plan)
    with pytest.raises(ConfigError, match="There is no plan 4711"):
        planning.plan_numbered(4711)
    code, said = told(lambda console: planning.plan(sync, console))
    assert (code, told(lambda console: planning.apply(Run.objects.latest("pk"), console))[0]) == (0, 0)
    code, said = told(lambda console: planning.plan(sync, console))
    assert (code, "There is nothing to apply" in said, "Planned: 3 unchanged." in said) == (0, True, True)


def test_a_plan_that_cannot_be_made_ends_with_1(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.people(1)
    sync = lab.sync()
    monkeypatch.setattr(Planner, "send", lambda self, batch: self.connector.call.push())
    code, said = told(lambda console: planning.plan(sync, console))
    assert code == planning.FAILED
    assert "A plan writes nothing" in said


def test_the_command_line_passes_on_what_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def kept(value: object, answer: object) -> object:
        given.append(value)
        return answer

    monkeypatch.setattr(cli, "set_up_django", lambda: None)
    monkeypatch.setattr("syncline.connections.startup.begin", lambda: None)
    monkeypatch.setattr(planning, "sync_named", lambda name: kept(name, name))
    monkeypatch.setattr(planning, "plan", lambda sync, console, rows: kept(rows, 3))
    assert CliRunner().invoke(cli.main, ["plan", "My sync", "--rows", "4"]).exit_code == 3
    assert given == ["My sync", 4]
    monkeypatch.setattr(planning, "plan_numbered", lambda number: number)
    monkeypatch.setattr(planning, "question", lambda plan: f"Write {plan}?")
    monkeypatch.setattr(planning, "apply", lambda plan, console: kept(plan, 0))
    answer = CliRunner().invoke(cli.main, ["apply", "7"], input="n\n")
    assert ("Write 7?" in answer.output, given) == (True, ["My sync", 4])
    assert CliRunner().invoke(cli.main, ["apply", "7", "--yes"]).exit_code == 0
    assert given == ["My sync", 4, 7]
