"""How long does it take to find out who a million new records are, in an account of which 100,000 are indexed?

Records and index are made by SQL: a tenth of our records is there, found by domain or by number; the rest is new. Every record
goes the way it goes in a push (staged, read in chunks, matched), but none is mapped or sent. `bare_join_s` is one join of
the staged values with the index, which is the least anybody could do.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from syncline.catalog import service as catalog
from syncline.ledger.models import IdentityIndex
from syncline.ledger.records import Scope
from syncline.registry import connector, dataset
from syncline.runs.job import seed_of
from syncline.runs.push import lookup, prepare, reader
from syncline.runs.push.identities import WIDEST, index_name
from syncline.runs.push.prepare import Identifying
from syncline.syncs.models import Sync
from syncline.syncs.publish import compiled
from syncline_host.demo import scenario
from syncline_hubspot.sandbox.process import RunningSandbox

from tests.benchmarks.harness import Figures, bench
from tests.benchmarks.register import empty

RECORDS = int(os.environ.get("MATCH_RECORDS", "1000000"))
INDEXED = RECORDS // 10

_OURS = """
INSERT INTO companies_company (companies_house_id, name, description, website, created, modified)
SELECT CASE WHEN n %% 3 = 0 THEN lpad(n::text, 8, '0') ELSE '' END, 'Company ' || n, 'What company ' || n || ' does.',
       CASE WHEN n %% 20 = 0 THEN '' ELSE 'https://www.company' || n || '.example/about' END, now(), now()
FROM generate_series(1, %s) AS n
"""
_THEIRS = """
INSERT INTO syncline_identityindex (connection_id, object_type, property, value, remote_id)
SELECT %(connection)s, 'companies', v.name, v.value, (50000000000 + n)::text FROM generate_series(10, %(records)s, 10) AS n
CROSS JOIN LATERAL (VALUES (%(domain)s, 'company' || n || '.example'), (%(number)s, lpad(n::text, 8, '0')),
                           (%(called)s, 'another name ' || n)) AS v (name, value)
"""
_BARE = """
SELECT count(*), count(i.remote_id) FROM syncline_candidate c
JOIN unnest(%s::smallint[], %s::text[]) AS p (step, name) ON p.step = c.step
LEFT JOIN syncline_identityindex i
  ON i.connection_id = %s AND i.object_type = %s AND i.property = p.name AND i.value = c.value
WHERE c.run_id = %s
"""


@bench("match-1m")
def match() -> Figures:
    empty()
    with RunningSandbox(limits=False) as sandbox:
        user = User.objects.create_superuser("bench")
        sync = scenario.make_syncs(scenario.connect_by_token(user, sandbox), user)[0]
        work = identifying(sync)
    fabricate(work)
    started = time.perf_counter()
    new = prepare.stage_candidates(work, lambda: None)
    prepare.analyse()
    staged = time.perf_counter()
    found = matched(work)
    ended = time.perf_counter()
    bare = bare_join(work)
    return {
        "records": new,
        "indexed": IdentityIndex.objects.values("remote_id").distinct().count(),
        "rows_per_s": round(new / (ended - started)),
        "ratio_to_bare_join": round((ended - started) / bare, 1),
        "staging_s": round(staged - started, 1),
        "matching_s": round(ended - staged, 1),
        "bare_join_s": round(bare, 1),
        "found": dict(found),
    }


def identifying(sync: Sync) -> Identifying:
    assert sync.current is not None
    mapping = compiled(sync.current)
    source = reader.Source(
        dataset=dataset(sync.dataset),
        fields=mapping.fields,
        scope=Scope(sync.connection_id, sync.object_type, sync.dataset),
        segment="",
        owner=sync.connection.owner,
        seed=seed_of(mapping),
        run_id=1,
    )
    object_type = catalog.object_type(sync.connection, sync.object_type)
    unused: Any = None  # the index is there: nobody is asked
    return Identifying(connector("hubspot"), unused, object_type, mapping, mapping.content.match, source)


def fabricate(work: Identifying) -> None:
    domain, number, called = (index_name(step) for step in work.rule.steps)
    given = {"connection": work.source.scope.connection_id, "records": RECORDS}
    with connection.cursor() as cursor:
        cursor.execute(_OURS, [RECORDS])
        cursor.execute(_THEIRS, {**given, "domain": domain, "number": number, "called": called})
        cursor.execute("ANALYZE companies_company")


def matched(work: Identifying) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for chunk in reader.chunks(work.source):
        records = {row.key: unlinked(work, row) for row in chunk.rows}
        answers = lookup.matches(work.source.scope, work.source.run_id, work.rule, records, set)
        found.update("adopt" if one.remote_id else one.code or "create" for one in answers.values())
    return found


def unlinked(work: Identifying, row: reader.Row) -> lookup.Unlinked:
    values = work.mapping.match_values(row.values)
    return lookup.Unlinked(f"bench:{row.key}", frozenset((step, value[:WIDEST]) for step, value in values))


def bare_join(work: Identifying) -> float:
    names = [index_name(step) for step in work.rule.steps]
    scope = work.source.scope
    started = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute(_BARE, [list(range(len(names))), names, scope.connection_id, scope.object_type, work.source.run_id])
        cursor.fetchone()
    return time.perf_counter() - started
