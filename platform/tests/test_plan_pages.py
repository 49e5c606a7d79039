"""A plan on its page and in the API: seen, filtered and applied by who may; and the commands."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from syncline.connections.models import Grant
from syncline.runs.models import PlanRow, Run
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
    assert "Planned: 30 to create, 1 to adopt." in shown
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
