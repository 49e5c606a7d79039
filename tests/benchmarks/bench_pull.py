"""How fast do 100,000 companies come out of the HubSpot sandbox into the register, beside two other tools and a bare loop?

All read the same sandbox, one after the other, with its limits off. Ours is the first run of a pull with the suggested mapping,
and then a second one with nothing changed. `bare` asks for the same properties with requests, reads the answers with orjson and
copies them as they are into a table without an index: before ours and after it, the mean of both. The peers only print what
they read. They ask for every property that the account defines; for the ratios the account has just those that ours asks for,
and `all_properties` is the account as it comes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import psycopg
import requests
from django.contrib.auth.models import User
from psycopg import sql
from syncline.catalog import service as catalog
from syncline.contract.normalise import domain
from syncline.registry import dataset
from syncline.syncs.models import Sync
from syncline.syncs.publish import compiled
from syncline_companies.sample import load
from syncline_host.demo import scenario
from syncline_hubspot.mapping import COMPANY
from syncline_hubspot.sandbox.process import Admin, RunningSandbox
from syncline_hubspot.wire import with_merged

from tests.benchmarks import peers
from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 100_000
OBJECT = "companies"
SOME = 3_000
"""Records that a peer is given of the account as it comes, where it is slow."""
PLACES = {
    "name": "name",
    "website": "website",
    "description": "description",
    "country_name": "country",
    "companies_house_id": "companies_house_number",
    "date_founded": "syncline_date_founded",
}


@bench("pull-100k")
def pull_100k() -> Figures:
    load_before = os.getloadavg()[0]
    fill(COMPANIES)
    with RunningSandbox(limits=False) as sandbox:
        sync = prepared(sandbox)
        names = asked(sync)
        before, ours, after, unchanged = bare(sandbox, names), pulled(sync), bare(sandbox, names), pulled(sync)
        there = [peer for peer in peers.ALL if peer.there]
        as_it_comes = {peer.name: peers.measure(peer, sandbox, SOME) for peer in there}
        forget_others(sandbox, names)
        alike = {peer.name: peers.measure(peer, sandbox, peer.most) for peer in there}
    return {
        **ours,
        "unchanged_records_per_s": unchanged["records_per_s"],
        "unchanged_cpu_s_per_1000": unchanged["cpu_s_per_1000"],
        "ratio_to_bare": round(2 * ours["records_per_s"] / (before["records_per_s"] + after["records_per_s"]), 3),
        **beside(ours, alike, as_it_comes),
        "bare": [before, after],
        "load": [round(load_before, 1), round(os.getloadavg()[0], 1)],
    }


def beside(ours: Figures, alike: Mapping[str, Figures], as_it_comes: Mapping[str, Figures]) -> dict[str, Any]:
    """The peers' figures, and what is left out because a peer is not installed."""
    missing = [peer.name for peer in peers.ALL if peer.name not in alike]
    return {
        **{f"ratio_to_{peer.short}": ratio(ours, alike[peer.name]) for peer in peers.ALL if peer.name in alike},
        "peers": dict(alike),
        "all_properties": {name: {**told, "ratio": ratio(ours, told)} for name, told in as_it_comes.items()},
        **({"left_out": f"{', '.join(missing)}: {peers.GET}"} if missing else {}),
    }


def ratio(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    return round(float(ours["records_per_s"]) / float(theirs["records_per_s"]), 2)


def prepared(sandbox: RunningSandbox) -> Sync:
    """The register's companies are in the account, and not in the register any more."""
    user = User.objects.create_superuser("bench")
    connection = scenario.connect_by_token(user, sandbox)
    catalog.refresh(connection)
    catalog.create_missing(connection, catalog.object_type(connection, OBJECT), COMPANY.create)
    seed(sandbox.admin)
    load.clear()
    return scenario.make_sync(connection, user, "companies.company", OBJECT, direction="pull")


def seed(admin: Admin) -> None:
    rows = dataset("companies.company").rows(PLACES).values(*PLACES)
    records = [as_there(row) for row in rows.iterator(chunk_size=5000)]
    for start in range(0, len(records), 5000):
        admin.seed(OBJECT, records[start : start + 5000])


def as_there(row: Mapping[str, Any]) -> dict[str, str]:
    """HubSpot takes no company that has neither a name nor a domain."""
    record = {PLACES[name]: str(value) for name, value in row.items() if value not in (None, "")}
    host = {"domain": found} if (found := domain(row["website"])) else {}
    return {"name": "No name", **host, **record} if not host else {**host, **record}


def asked(sync: Sync) -> list[str]:
    assert sync.current is not None
    inbound = compiled(sync.current).inbound
    assert inbound is not None
    return with_merged(inbound.properties)


def pulled(sync: Sync) -> dict[str, Any]:
    started, cpu = time.perf_counter(), time.process_time()
    run = scenario.run_to_end(sync)
    seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    if run.read != COMPANIES or run.state not in ("succeeded", "problems"):
        raise RuntimeError(f"The pull did not end well: {run.read} records, {run.state}, {run.reason}")
    return {
        "records": run.read,
        "records_per_s": round(run.read / seconds),
        "cpu_s_per_1000": round(1000 * spent / run.read, 4),
        "seconds": round(seconds, 2),
        **{name: count for name in ("created", "unchanged", "rejected", "ambiguous") if (count := getattr(run, name))},
    }


def bare(sandbox: RunningSandbox, names: Sequence[str]) -> dict[str, Any]:
    """The least that could be done: a page, its rows, and a commit for each thousand."""
    columns = [sql.Identifier(name) for name in ("id", *names)]
    table = sql.SQL("CREATE TABLE bench_bare ({})").format(sql.SQL(", ").join(sql.SQL("{} text").format(c) for c in columns))
    copy = sql.SQL("COPY bench_bare ({}) FROM STDIN").format(sql.SQL(", ").join(columns))
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS bench_bare")
        cursor.execute(table)
        connection.commit()
        started, cpu, count = time.perf_counter(), time.process_time(), 0
        for records in listed(sandbox, names):
            with cursor.copy(copy) as rows:
                for record in records:
                    rows.write_row([record["id"], *(record["properties"].get(name) for name in names)])
            count += len(records)
            if count % 1000 == 0:
                connection.commit()
        connection.commit()
        seconds, spent = time.perf_counter() - started, time.process_time() - cpu
    return {"records_per_s": round(count / seconds), "cpu_s_per_1000": round(1000 * spent / count, 4)}


def listed(sandbox: RunningSandbox, names: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    query: dict[str, Any] = {"limit": 100, "properties": ",".join(names)}
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {sandbox.token}"
        while True:
            answer = session.get(f"{sandbox.url}/crm/v3/objects/{OBJECT}", params=query, timeout=60)
            answer.raise_for_status()
            page = orjson.loads(answer.content)
            yield page["results"]
            if not (following := page.get("paging")):
                return
            query["after"] = following["next"]["after"]


def forget_others(sandbox: RunningSandbox, names: Sequence[str]) -> None:
    """The account defines what is asked for, and what HubSpot tells of every company."""
    kept = {*names, "createdate", "hs_lastmodifieddate", "hs_object_id"}
    for definition in sandbox.request("GET", f"/crm/v3/properties/{OBJECT}").json()["results"]:
        if definition["name"] not in kept:
            sandbox.admin.delete_property(OBJECT, definition["name"])
