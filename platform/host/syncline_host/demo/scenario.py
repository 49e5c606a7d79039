"""A user's register and a HubSpot account that knows a part of it already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.db.models import F, Min
from django.db.models.functions import Lower, Trim
from rich.console import Console
from syncline import planning
from syncline.catalog import service as catalog
from syncline.connections import service as connections
from syncline.connections.models import Connection
from syncline.contract.normalise import domain
from syncline.ledger.models import ErrorGroup
from syncline.registry import dataset
from syncline.runs.models import Run
from syncline.runs.plan.start import start_plan
from syncline.runs.start import start_run
from syncline.syncs import publish
from syncline.syncs.models import Sync
from syncline_hubspot.sandbox.process import Admin, RunningSandbox

from .report import PassResult, progress, result

PAIRS = (("companies.company", "companies"), ("companies.person", "contacts"))
AMBIGUOUS_PAIRS = 5
SHOWN = 4
"""Records of a plan that are shown field by field."""
PLURAL = {"needs review": "need review"}
VARIANTS = ("{}", "www.{}", "{}.")


@dataclass(frozen=True, slots=True)
class Seeded:
    companies: int
    ambiguous_pairs: int
    people: int


def seed_account(admin: Admin, share: int = 10) -> Seeded:
    """Every tenth company under another name with the same domain, five domains twice, and every tenth person."""
    companies = list(_known_companies(share))
    pairs = [dict(c, name=f"{c['name']} (again)") for c in companies[:AMBIGUOUS_PAIRS]]
    people = list(_known_people(share))
    for object_type, records in (("companies", companies + pairs), ("contacts", people)):
        for start in range(0, len(records), 5000):
            admin.seed(object_type, records[start : start + 5000])
    return Seeded(len(companies) + len(pairs), len(pairs), len(people))


def _known_companies(share: int) -> Iterator[dict[str, str]]:
    """Only companies that are alone with their domain: the others are ambiguous whatever the account holds."""
    rows = apps.get_model("companies", "Company").objects.order_by("id").values_list("id", "website", "name")
    counts: dict[str, int] = {}
    for _, website, _ in rows.iterator(chunk_size=5000):
        counts[domain(website)] = counts.get(domain(website), 0) + 1
    alone = (
        (key, host, name)
        for key, website, name in rows.iterator(chunk_size=5000)
        if (host := domain(website)) and counts[host] == 1
    )
    for number, (key, host, name) in enumerate(alone):
        if number % share == 0:
            yield {
                "name": f"{name} as the CRM calls it ({key})"[:200],
                "domain": VARIANTS[number // share % len(VARIANTS)].format(host),
            }


def _known_people(share: int) -> Iterator[dict[str, str]]:
    employees = apps.get_model("companies", "Employee").objects
    people = (
        employees.annotate(mail=Lower(Trim(F("email"))))
        .exclude(mail="")
        .values("mail")
        .annotate(first=Min("id"))
        .order_by("first")
    )
    for number, row in enumerate(people.values_list("mail", flat=True).iterator(chunk_size=5000)):
        if number % share == 0:
            yield {"email": row, "lastname": "From the CRM"}


def connect_by_token(owner: User, sandbox: RunningSandbox, name: str = "HubSpot sandbox") -> Connection:
    connection = Connection.objects.create(
        connector="hubspot", name=name, owner=owner, settings={"api_url": sandbox.url, "app_url": sandbox.url}
    )
    connections.save_credentials(connection, "token", {"token": sandbox.token})
    connection.refresh_from_db()
    return connection


def make_syncs(connection: Connection, user: User) -> list[Sync]:
    """The suggested mappings, with the properties they need created, published."""
    catalog.refresh(connection)
    return [make_sync(connection, user, dataset, object_type) for dataset, object_type in PAIRS]


def make_sync(connection: Connection, user: User, dataset: str, object_type: str, **options: Any) -> Sync:
    sync = Sync.objects.create(
        name=f"{dataset} → {object_type}",
        connection=connection,
        dataset=dataset,
        object_type=object_type,
        created_by=user,
        **options,
    )
    publish.apply_suggestion(sync)
    missing = publish.missing_properties(sync)
    catalog.create_missing(connection, catalog.object_type(connection, object_type), missing)
    publish.apply_suggestion(sync)
    publish.publish(sync, user)
    sync.refresh_from_db()
    return sync


def run_to_end(sync: Sync, user: User | None = None, kind: str = Run.Kind.FULL, begun: list[int] | None = None) -> Run:
    """Starts a run and carries it out in this process; `begun` gets its id."""
    run = start_run(sync, user=user, kind=kind)
    if begun is not None:
        begun.append(run.pk)
    return planning.to_end(run)


def measured_pass(console: Console, admin: Admin, sync: Sync, number: int, user: User) -> PassResult:
    """One run with a progress bar, and what the sandbox counted meanwhile."""
    begun: list[int] = []
    total = dataset(sync.dataset).rows((), sync.segment, sync.connection.owner).count()
    admin.reset_counters()
    started = time.monotonic()
    with progress(console, f"{sync.object_type}, push {number}", total, begun):
        run = run_to_end(sync, user, begun=begun)
    return result(run, number, admin.counters(), time.monotonic() - started)


def planned(console: Console, admin: Admin, sync: Sync, user: User) -> PassResult:
    """What the first push would do, shown before anything is sent."""
    admin.reset_counters()
    started = time.monotonic()
    plan = planning.to_end(start_plan(sync, user=user))
    console.print(f"\n[bold]{sync.object_type}: what a push would do[/] (nothing is written)")
    planning.show(plan, console, SHOWN)
    return result(plan, 0, admin.counters(), time.monotonic() - started)


def explain(console: Console, syncs: list[Sync]) -> None:
    """Why records were not delivered, by cause, of each sync's last run."""
    for sync in syncs:
        run = sync.runs.order_by("-id").first()
        for group in ErrorGroup.objects.filter(run_id=run.pk if run else 0).order_by("-count"):
            what = group.get_state_display()
            if group.count != 1:
                what = PLURAL.get(what, what)
            console.print(f"[yellow]{sync.object_type}: {group.count:,} {what}[/]: for example, {group.message}")
            console.print(f"  {group.next_step}", style="dim")
