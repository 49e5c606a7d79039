"""A first load as files for the vendor's import: HubSpot's sandbox and the whole of Syncline."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import override_settings
from syncline import planning
from syncline.catalog import service as catalog
from syncline.connections import service
from syncline.ledger.models import Entry, ErrorGroup, IdentityIndex, Link
from syncline.runs.crash import BULK_POINTS
from syncline.runs.execute import work
from syncline.runs.models import Run, RunPart
from syncline.runs.push import bulk as push_bulk
from syncline.runs.start import cancel, start_run
from syncline.runs.tick import tick
from syncline.syncs import publish
from syncline.syncs.models import FieldRule, Sync
from syncline_companies.models import Company
from syncline_host.demo.scenario import connect_by_token, make_sync, run_to_end
from syncline_hubspot import bulk, objects
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import RunningSandbox
from syncline_hubspot.sandbox.tokens import ALL_SCOPES

pytestmark = [pytest.mark.django_db(transaction=True)]
FEW = 110


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningSandbox]:
    for state in bulk.GOING_ON:
        monkeypatch.setitem(bulk.GOING_ON, state, 0.05)
    running.admin.reset()
    running.admin.config(import_rows_per_s=0, imports_daily=500)
    with override_settings(SYNCLINE_ALLOW_LOOPBACK=True):
        yield running


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("ann", "ann@example.org", "x")


def register(number: int) -> None:
    """Companies that share no domain."""
    made = [
        Company(name=f"Company {n}", website=f"https://www.company-{n}.example", description="About it") for n in range(number)
    ]
    Company.objects.bulk_create(made)


def domain(company: Company) -> str:
    return company.website.removeprefix("https://www.")


def loading(sandbox: RunningSandbox, user: User, number: int = FEW, **options: Any) -> Sync:
    register(number)
    account = connect_by_token(user, sandbox)
    catalog.refresh(account)
    sync = make_sync(account, user, "companies.company", "companies")
    return changed(sync, **{"bulk_from": 50, **options})


def changed(sync: Sync, **options: Any) -> Sync:
    for name, value in options.items():
        setattr(sync, name, value)
    sync.save()
    return sync


def measured(sandbox: RunningSandbox, sync: Sync) -> tuple[Run, Counter[str]]:
    sandbox.admin.reset_counters()
    run = run_to_end(sync)
    return run, Counter({name: int(n) for name, n in sandbox.admin.counters().items() if name != "answers"})


def files(sandbox: RunningSandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.request("GET", "/crm/v3/imports").json()["results"]
    return found


def delivered(sandbox: RunningSandbox) -> None:
    """Each of our records is linked to a live remote one of its own, which carries its key."""
    there = {r["id"]: r["properties"] for r in sandbox.admin.live("companies")}
    links = {link.local_key: link for link in Link.objects.filter(object_type="companies")}
    assert {str(pk) for pk in Company.objects.values_list("pk", flat=True)} == set(links)
    for key, link in links.items():
        assert link.state == "delivered", (key, link.state, link.reason)
        assert there[str(link.remote_id)][KEY.name].endswith(f":companies.company:{key}")
    keys = Counter(values.get(KEY.name) for values in there.values())
    assert all(number == 1 for key, number in keys.items() if key)


def test_5000_companies_go_as_one_file_and_take_fewer_calls(sandbox: RunningSandbox, user: User) -> None:
    sync = loading(sandbox, user, 5000, bulk_from=1000)
    run, used = measured(sandbox, sync)
    assert (run.state, run.created, run.read) == ("succeeded", 5000, 5000)
    assert (used["imports_create"], used["write_calls"], used["batch_upsert"]) == (1, 1, 0)
    delivered(sandbox)
    assert IdentityIndex.objects.values("remote_id").distinct().count() == 5000
    assert Entry.objects.filter(run_id=run.pk, op="upsert", status="created").count() == 5000
    again, quiet = measured(sandbox, sync)
    assert (again.state, again.unchanged, quiet["total_calls"]) == ("succeeded", 5000, 0)
    begin_again(sandbox, sync)
    other, normal = measured(sandbox, changed(sync, bulk_from=None))
    assert (other.created, normal["batch_upsert"]) == (5000, 50)
    searches, calls = used["search"], used["total_calls"]
    print(f"\n5,000 companies: {calls} calls by import, {searches} of them searches; {normal['total_calls']} without")
    assert used["total_calls"] < 0.75 * normal["total_calls"]
    assert used["total_calls"] - used["search"] < 0.2 * normal["total_calls"]


def begin_again(sandbox: RunningSandbox, sync: Sync) -> None:
    """Both sides as before the first push."""
    sandbox.admin.reset()
    catalog.refresh(sync.connection)
    offered = catalog.object_type(sync.connection, sync.object_type)
    catalog.create_missing(sync.connection, offered, publish.missing_properties(sync))
    with connection.cursor() as cursor:
        names = ("link", "entry", "identityindex", "indexstate", "candidate", "errorgroup", "run", "runpart")
        cursor.execute(f"TRUNCATE {', '.join(f'syncline_{name}' for name in names)} CASCADE")


def test_a_load_of_several_files_is_split_and_each_is_taken_in(
    sandbox: RunningSandbox, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "ROWS", 50)
    sandbox.admin.config(import_rows_per_s=500)
    run = run_to_end(loading(sandbox, user))
    assert (run.state, run.created) == ("succeeded", FEW)
    assert len(files(sandbox)) == 2  # the last ten are fewer than a file is worth
    delivered(sandbox)


def test_below_the_threshold_nothing_is_imported(sandbox: RunningSandbox, user: User) -> None:
    run = run_to_end(loading(sandbox, user, bulk_from=FEW + 1))
    assert (run.created, files(sandbox)) == (FEW, [])
    Company.objects.filter(pk__in=Company.objects.values_list("pk", flat=True)[:80]).update(description="New")
    assert run_to_end(Sync.objects.get(pk=run.sync_id)).updated == 80
    assert files(sandbox) == []


def test_what_the_account_holds_already_is_adopted_and_not_imported(sandbox: RunningSandbox, user: User) -> None:
    sync = loading(sandbox, user)
    known = list(Company.objects.order_by("pk")[:20])
    sandbox.admin.seed("companies", [{"name": f"Held {c.pk}", "domain": domain(c)} for c in known])
    sandbox.admin.seed("companies", [{"name": "Twin", "domain": domain(known[0])}])
    run = run_to_end(sync)
    assert (run.created, run.adopted, run.ambiguous) == (FEW - 20, 19, 1)
    assert files(sandbox)[0]["metadata"]["counters"]["TOTAL_ROWS"] == FEW - 20
    assert len(sandbox.admin.live("companies")) == FEW + 1


def test_rows_with_errors_are_told_with_their_property_and_linked(sandbox: RunningSandbox, user: User) -> None:
    sync = loading(sandbox, user)
    bad = Company.objects.order_by("pk")[7]
    chosen = f'name == "{bad.name}" ? "BANKING" : "ACCOUNTING"'
    FieldRule.objects.create(sync=sync, position=90, expression=chosen, target="industry")
    publish.publish(sync, user)
    sandbox.admin.patch_property("companies", "industry", {"remove_options": ["BANKING"]})
    run = run_to_end(Sync.objects.get(pk=sync.pk))
    assert (run.state, run.created, run.rejected) == ("problems", FEW - 1, 1)
    [group] = ErrorGroup.objects.filter(run_id=run.pk)
    assert (group.code, group.property, group.samples) == ("invalid_choice", "industry", [str(bad.pk)])
    assert "HubSpot's import refused industry: BANKING was not one of the allowed options" in group.message
    link = Link.objects.get(object_type="companies", local_key=str(bad.pk))
    there = {r["id"]: r["properties"] for r in sandbox.admin.live("companies")}
    assert link.state == "rejected"
    assert there[str(link.remote_id)]["name"] == bad.name  # written without the value
    again, quiet = measured(sandbox, sync)
    assert (again.rejected, again.unchanged, quiet["total_calls"]) == (1, FEW - 1, 0)
    Company.objects.filter(pk=bad.pk).update(name="Another name")
    assert run_to_end(sync).updated == 1
    assert len(sandbox.admin.live("companies")) == FEW
    delivered(sandbox)


def test_where_the_admin_chose_it_the_import_finds_companies_by_domain(sandbox: RunningSandbox, user: User) -> None:
    sync = loading(sandbox, user, bulk_match=True)
    FieldRule.objects.filter(sync=sync).exclude(write_mode="overwrite").update(write_mode="overwrite")
    publish.publish(sync, user)
    known = list(Company.objects.order_by("pk")[:20])
    held = sandbox.admin.seed("companies", [{"name": "Old", "domain": domain(c)} for c in known])
    sandbox.admin.seed("companies", [{"name": "Twin", "domain": domain(known[0])}])
    Company.objects.filter(pk=known[1].pk).update(website="")
    run, used = measured(sandbox, Sync.objects.get(pk=sync.pk))
    links = {link.local_key: link for link in Link.objects.filter(object_type="companies")}
    assert (run.created, run.adopted, run.ambiguous) == (FEW - 19, 18, 1)
    assert [links[str(c.pk)].remote_id for c in known[2:]] == held[2:]
    several = links[str(known[0].pk)]
    assert (several.state, several.remote_id, several.code) == ("ambiguous", None, "several_remote")
    assert len(sandbox.admin.live("companies")) == FEW + 2  # the twin, and one whose company has no domain here any more
    assert used["imports_create"] == 1
    assert measured(sandbox, sync)[1]["total_calls"] == 0


def test_what_changes_here_while_the_import_runs_is_sent_by_the_same_run(
    sandbox: RunningSandbox, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = loading(sandbox, user)
    first, second, third = Company.objects.order_by("pk")[:3]
    real = bulk.submit

    def meanwhile(*given: Any) -> str:
        token = real(*given)
        Company.objects.filter(pk=first.pk).update(name="Changed meanwhile")
        Company.objects.filter(pk=second.pk).delete()
        return token

    monkeypatch.setattr("syncline_hubspot.connector.submit", meanwhile)
    run = run_to_end(sync)
    there = {r["properties"][KEY.name].rpartition(":")[2]: r["properties"]["name"] for r in sandbox.admin.live("companies")}
    assert (there[str(first.pk)], there[str(third.pk)]) == ("Changed meanwhile", third.name)
    assert (run.created, run.state) == (FEW, "succeeded")
    assert Link.objects.get(object_type="companies", local_key=str(second.pk)).remote_id
    again, quiet = measured(sandbox, sync)
    assert (again.unchanged, quiet["total_calls"]) == (FEW - 1, 0)


def test_an_import_that_fails_half_way_is_finished_by_the_normal_path(sandbox: RunningSandbox, user: User) -> None:
    sandbox.admin.config(import_rows_per_s=1)
    sync = loading(sandbox, user)
    run = start_run(sync)
    work(10, run.pk)
    sandbox.admin.advance(60)
    [job] = files(sandbox)
    sandbox.admin.fail_import(job["id"])
    assert 40 < len(sandbox.admin.live("companies")) < FEW
    run = planning.to_end(run)
    assert (run.state, run.created) == ("succeeded", FEW)
    part = RunPart.objects.get(run=run, kind=RunPart.Kind.BULK)
    assert f"HubSpot's import {job['id']} ended as FAILED." in part.last_error
    delivered(sandbox)


@pytest.mark.parametrize("refusal", ["scope", "daily"])
def test_where_no_import_is_taken_the_records_go_the_normal_way(sandbox: RunningSandbox, user: User, refusal: str) -> None:
    sync = loading(sandbox, user)
    if refusal == "daily":
        sandbox.admin.config(imports_daily=0)
    else:
        narrow = sandbox.admin.issue_token([scope for scope in ALL_SCOPES if scope != "crm.import"])
        service.save_credentials(sync.connection, "token", {"token": narrow})
    run, used = measured(sandbox, sync)
    assert (run.state, run.created) == ("succeeded", FEW)
    assert used["batch_upsert"] == 2
    part = RunPart.objects.get(run=run, kind=RunPart.Kind.BULK)
    assert part.last_error.startswith("No bulk job was made")
    delivered(sandbox)


def test_a_job_whose_answer_was_lost_is_found_and_not_sent_again(
    sandbox: RunningSandbox, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_bulk, "LOOK_AFTER", 0.05)
    sync = loading(sandbox, user)
    sandbox.admin.fault("cut_after", endpoint="imports_create")
    run, used = measured(sandbox, sync)
    assert (run.state, run.created) == ("succeeded", FEW)
    assert (used["imports_create"], len(files(sandbox))) == (1, 1)
    delivered(sandbox)


CRASHES = [
    *((point, 1, False) for point in BULK_POINTS),
    ("bulk.recorded", 3, False),
    ("record.before", 2, False),
    ("record.after", 1, False),
    *((point, 1, True) for point in ("bulk.marked", "bulk.accepted", "bulk.recorded")),
]
KILLED = 137


@pytest.mark.faults
@pytest.mark.parametrize(("point", "nth", "matched"), CRASHES)
def test_a_worker_killed_there_leaves_no_duplicate_and_no_loss(
    sandbox: RunningSandbox, user: User, monkeypatch: pytest.MonkeyPatch, point: str, nth: int, matched: bool
) -> None:
    monkeypatch.setattr(bulk, "HITS", 40)
    sync = loading(sandbox, user, bulk_match=matched)
    FieldRule.objects.filter(sync=sync).exclude(write_mode="overwrite").update(write_mode="overwrite")
    publish.publish(sync, user)
    held = list(Company.objects.order_by("pk")[:10])
    sandbox.admin.seed("companies", [{"name": "Old", "domain": domain(c)} for c in held])
    run = start_run(Sync.objects.get(pk=sync.pk))
    assert in_child(lambda: go_on(run), {"SYNCLINE_CRASH_AT": f"{point}:{nth}"}) == KILLED
    with connection.cursor() as cursor:
        cursor.execute("UPDATE syncline_runpart SET lease_until = now() - interval '1 s' WHERE state = 'leased'")
    run = planning.to_end(run)
    assert (run.state, run.created, run.adopted) == ("succeeded", FEW - 10, 10)
    assert (len(sandbox.admin.live("companies")), len(files(sandbox))) == (FEW, 1)
    delivered(sandbox)
    assert measured(sandbox, sync)[1]["total_calls"] == 0


@pytest.mark.faults
@pytest.mark.parametrize("point", ["bulk.marked", "bulk.accepted"])
def test_a_load_matched_there_that_died_for_good_is_matched_anew(sandbox: RunningSandbox, user: User, point: str) -> None:
    """Whether or not the file arrived, what has the domain there is the record."""
    sync = loading(sandbox, user, bulk_match=True)
    FieldRule.objects.filter(sync=sync).exclude(write_mode="overwrite").update(write_mode="overwrite")
    publish.publish(sync, user)
    held = list(Company.objects.order_by("pk")[:10])
    sandbox.admin.seed("companies", [{"name": "Old", "domain": domain(c)} for c in held])
    run = start_run(Sync.objects.get(pk=sync.pk))
    assert in_child(lambda: go_on(run), {"SYNCLINE_CRASH_AT": f"{point}:1"}) == KILLED
    cancel(run)
    assert Link.objects.filter(state="uncertain").count() == FEW
    again = run_to_end(changed(Sync.objects.get(pk=sync.pk), bulk_from=None))
    assert (again.state, len(sandbox.admin.live("companies"))) == ("succeeded", FEW)
    delivered(sandbox)


def go_on(run: Run) -> None:
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        work(30, run.pk)
        tick()


def in_child(carry_out: Callable[[], None], environment: dict[str, str]) -> int:
    """In a process of its own; its database connections are its own too."""
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ.update(environment)
            carry_out()
            code = 0
        except BaseException:  # noqa: BLE001 - told, and turned into the exit code
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
