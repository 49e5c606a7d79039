"""The host's API: one's own connections, syncs and runs; runs are started and cancelled with reasons when they are not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from syncline.models import Grant, Run, RunPart, Sync

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from administering.world import Estate  # noqa: E402

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(client: Client, estates: tuple[Estate, Estate]) -> Estate:
    client.force_login(estates[0].owner)
    return estates[0]


def test_lists_hold_only_ones_own(client: Client, ann: Estate, estates: tuple[Estate, Estate]) -> None:
    for name, mine in (("connections", ann.connection.pk), ("syncs", ann.sync.pk), ("runs", ann.run.pk)):
        assert [one["id"] for one in client.get(f"/api/v1/{name}/").json()["results"]] == [mine]
    bob = estates[1]
    for path in (f"connections/{bob.connection.pk}", f"syncs/{bob.sync.pk}", f"runs/{bob.run.pk}"):
        assert client.get(f"/api/v1/{path}/").status_code == 404
    assert client.post(f"/api/v1/syncs/{bob.sync.pk}/run/").status_code == 404
    assert client.post(f"/api/v1/runs/{bob.run.pk}/cancel/").status_code == 404
    assert client.get("/api/v1/runs/", {"sync": bob.sync.pk}).json()["results"] == []


def test_nobody_unknown_is_let_in(client: Client) -> None:
    for name in ("connections", "syncs", "runs"):
        assert client.get(f"/api/v1/{name}/").status_code == 401


def test_a_token_of_the_api_is_enough(client: Client, estates: tuple[Estate, Estate]) -> None:
    given = client.post("/api/v1/token/", {"username": "ann", "password": "correct horse"}).json()
    answer = client.get("/api/v1/syncs/", headers={"Authorization": f"Bearer {given['access']}"})
    assert [one["name"] for one in answer.json()["results"]] == ["anns-sync"]


def test_a_sync_names_its_version_and_its_last_run(client: Client, ann: Estate) -> None:
    shown = client.get(f"/api/v1/syncs/{ann.sync.pk}/").json()
    assert (shown["version"], shown["last_run"], shown["last_run_state"]) == (1, ann.run.pk, "problems")
    Sync.objects.filter(pk=ann.sync.pk).update(current=None)
    assert client.get(f"/api/v1/syncs/{ann.sync.pk}/").json()["version"] is None


def test_a_run_is_started_once_and_counted_while_it_goes_on(client: Client, ann: Estate) -> None:
    answer = client.post(f"/api/v1/syncs/{ann.sync.pk}/run/", {"kind": "retry"}, content_type="application/json")
    started = answer.json()
    assert (answer.status_code, started["kind"], started["trigger"], started["state"]) == (201, "retry", "api", "queued")
    again = client.post(f"/api/v1/syncs/{ann.sync.pk}/run/")
    assert again.status_code == 409
    assert "is running already" in again.json()["detail"]
    RunPart.objects.filter(run=started["id"], kind=RunPart.Kind.RANGE).update(created=12)
    assert client.get(f"/api/v1/runs/{started['id']}/").json()["created"] == 12
    cancelled = client.post(f"/api/v1/runs/{started['id']}/cancel/")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert client.post(f"/api/v1/runs/{started['id']}/cancel/").status_code == 409
    assert client.post(f"/api/v1/syncs/{ann.sync.pk}/run/", {"kind": "sideways"}).status_code == 400


def test_a_run_is_paused_resumed_and_cancelled_and_its_history_says_so(client: Client, ann: Estate) -> None:
    run = client.post(f"/api/v1/syncs/{ann.sync.pk}/run/").json()["id"]
    address = f"/api/v1/runs/{run}"
    assert client.post(f"{address}/resume/").status_code == 409
    assert client.post(f"{address}/pause/").json()["state"] == "paused"
    assert client.post(f"{address}/pause/").json()["detail"] == "This run is not under way; there is nothing to pause."
    assert client.post(f"{address}/resume/").json()["state"] == "running"
    assert client.post(f"{address}/cancel/").json()["state"] == "cancelled"
    said = LogEntry.objects.filter(object_id=str(run)).order_by("pk").values_list("change_message", flat=True)
    assert list(said) == ["Paused through the API.", "Resumed through the API.", "Cancelled through the API."]


def test_chosen_records_are_pushed(client: Client, ann: Estate) -> None:
    answer = client.post(f"/api/v1/syncs/{ann.sync.pk}/push/", {"keys": ["7", "8"]}, content_type="application/json")
    assert (answer.status_code, answer.json()["kind"]) == (201, "keys")
    assert RunPart.objects.get(run=answer.json()["id"]).keys == ["7", "8"]
    assert client.post(f"/api/v1/syncs/{ann.sync.pk}/push/", {"keys": []}, content_type="application/json").status_code == 400


def test_a_grant_to_look_does_not_run(client: Client, ann: Estate, estates: tuple[Estate, Estate]) -> None:
    bob = estates[1]
    grant = Grant.objects.create(connection=bob.connection, user=ann.owner)
    refused = client.post(f"/api/v1/syncs/{bob.sync.pk}/run/")
    assert refused.status_code == 403
    assert "Ask its owner for a grant." in refused.json()["detail"]
    grant.may_run = True
    grant.save()
    assert client.post(f"/api/v1/syncs/{bob.sync.pk}/run/").status_code == 201
    assert Run.objects.get(sync=bob.sync, state="queued").requested_by == ann.owner


def test_the_schema_describes_it(client: Client) -> None:
    shown = client.get(reverse("schema"), headers={"Accept": "application/json"}).json()
    for path in ("connections/", "syncs/{id}/run/", "runs/{id}/cancel/"):
        assert f"/api/v1/{path}" in shown["paths"]
    assert "credentials" not in str(shown["components"]["schemas"]["Connection"])
