"""What does a run over a million unchanged records cost, beside reading the same rows with nothing but psycopg?

The links are made by SQL with the hashes of the rows as they are, as a push of all of them would have left them. `bare` is
the very query of the dataset over a server-side cursor, each row fetched; both are measured in turns, three times each.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import psycopg
from django.contrib.auth.models import User
from django.db import connection
from syncline.ledger.models import Link
from syncline.ledger.records import Scope
from syncline.registry import dataset
from syncline.runs.job import seed_of
from syncline.runs.push.reader import Source
from syncline.syncs.models import Sync
from syncline.syncs.publish import compiled, publish
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import fill

COMPANIES = 1_000_000
ROUNDS = 3
PLAIN = ("name", "description", "website", "companies_house_id")

_LINKS = """
INSERT INTO syncline_link (connection_id, object_type, dataset, local_key, remote_id, state, revision, delivered, source_hash,
                           checked_at, delivered_at)
SELECT %s, %s, %s, s.c0::text, (50000000000 + s.c0)::text, 'delivered', 2,
       '{{"name": "0123456789ab", "domain": "0123456789ab", "description": "0123456789ab", "founded": "0123456789ab"}}',
       hash_record_extended(s, %s), now(), now()
FROM ({query}) AS s ({columns})
"""


@bench("unchanged-1m")
def unchanged() -> Figures:
    fill(COMPANIES)
    with RunningSandbox(limits=False) as sandbox:
        user = User.objects.create_superuser("bench")
        sync = scenario.make_syncs(scenario.connect_by_token(user, sandbox), user)[0]
        wide = measured(sync)
        sync.rules.exclude(source__in=PLAIN).delete()
        publish(sync, user)
        plain = measured(sync)
        calls = sum(sandbox.admin.counters()[name] for name in ("write_calls",))
    return {"records": COMPANIES, **wide, "write_calls": calls, "plain_columns": plain}


def measured(sync: Sync) -> Mapping[str, Any]:
    source = source_of(Sync.objects.get(pk=sync.pk))
    link(source)
    bare, ours = zip(*((bare_read(source), push(sync)) for _ in range(ROUNDS)), strict=True)
    return {
        "fields": len(source.fields),
        "ratio_to_bare_read": round(median(ours) / median(bare), 3),
        "records_per_s": round(COMPANIES / median(ours)),
        "seconds": round(median(ours), 2),
        "bare_seconds": round(median(bare), 2),
    }


def source_of(sync: Sync) -> Source:
    assert sync.current is not None
    mapping = compiled(sync.current)
    scope = Scope(sync.connection_id, sync.object_type, sync.dataset)
    segment, owner = mapping.content.segment, sync.connection.owner
    return Source(dataset(sync.dataset), mapping.fields, scope, segment, owner, seed_of(mapping), run_id=0)


def link(source: Source) -> None:
    query, params = source.values(source.queryset()).query.sql_with_params()
    columns = ", ".join(f"c{i}" for i in range(len(source.columns)))
    scope = source.scope
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE syncline_link CASCADE")
        cursor.execute(
            _LINKS.format(query=query, columns=columns),
            [scope.connection_id, scope.object_type, scope.dataset, source.seed, *params],
        )
        cursor.execute("VACUUM ANALYZE syncline_link")
    assert Link.objects.count() == COMPANIES


def bare_read(source: Source) -> float:
    query, params = source.values(source.queryset()).query.sql_with_params()
    started = time.perf_counter()
    with psycopg.connect(os.environ["DATABASE_URL"]) as plain, plain.cursor("rows") as cursor:
        cursor.itersize = 5000
        cursor.execute(query.encode(), params)
        assert sum(1 for _ in cursor) == COMPANIES
    return time.perf_counter() - started


def push(sync: Sync) -> float:
    started = time.perf_counter()
    run = scenario.run_to_end(sync)
    seconds = time.perf_counter() - started
    if (run.unchanged, run.state) != (COMPANIES, "succeeded"):
        raise RuntimeError(f"It was not unchanged: {run.unchanged} records, {run.state}, {run.reason}")
    return seconds
