"""Keeps the identity index current: by listing an object whole, by what changed there since, or by asking for a few values.

What our own writes change is stored with them (ledger.writer). All that is done here may be done by several workers at once
and broken off anywhere: a page is stored for itself, and the state that says how current the index is comes last.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings
from django.db import connection, connections

from syncline.contract import Capability, MatchRule, ObjectType, Page, PullRequest, Session, UnsupportedFeature
from syncline.ledger.models import IndexState
from syncline.ledger.records import Scope
from syncline.ledger.storable import dumps
from syncline.registry.facade import Connector
from syncline.runs import crash
from syncline.syncs.engine import MappingContent
from syncline.syncs.models import Sync

from . import index_rows
from .identities import Spec, index_name

CLOCKS_APART = 60.0
"""Seconds by which the system's clock and ours may differ, together with what else comes late."""

FEW_CALLS = 3
"""So many calls are no more than finding out what changed takes."""

MOST_DOUBTFUL = 5000

log = logging.getLogger("syncline.runs")
Alive = Callable[[], None]


def cadence() -> dt.timedelta:
    return dt.timedelta(days=float(settings.SYNCLINE_INDEX_DAYS))


@dataclass(frozen=True)
class Account:
    """One object of one connection, as a run asks it. `run_id`: whose candidates are matched."""

    connector: Connector
    session: Session
    object_type: ObjectType
    rule: MatchRule
    scope: Scope
    run_id: int

    def can(self, capability: Capability) -> bool:
        return capability in self.connector.info.capabilities

    @cached_property
    def needed(self) -> Spec:
        return Spec.of(self.rule.steps, self.object_type)

    def wanted(self) -> Spec:
        """What every sync of the object needs: else two that match by different properties would list it in turns."""
        scope = self.scope
        others = Sync.objects.filter(
            connection_id=scope.connection_id, object_type=scope.object_type, enabled=True, current__isnull=False
        )
        contents = others.order_by("pk").values_list("current__content", flat=True)
        steps = [step for content in contents for step in MappingContent.from_json(content).match.steps]
        return Spec.of((*self.rule.steps, *steps), self.object_type)


def refresh(account: Account, alive: Alive, *, quick: bool = False) -> None:
    """Brings the index up to date for this run's candidates, in the way that takes the fewest calls.

    `quick`: somebody waits. Then an object is listed only when there is no index of it at all. Without a match rule there is
    nothing to find out: our own key alone does not need the index, because an upsert finds it there.
    """
    if not account.rule.steps:
        return
    began = index_rows.now()
    state = _usable(account, quick)
    if _asking_is_cheaper(account, state, quick):
        _ask(account, alive)
    elif not account.can(Capability.PULL):
        return
    elif state is None or not _catch_up(account, state, alive, quick) or not _confirm(account, began, alive, quick):
        _list(account, alive)


@contextmanager
def listed_ahead(account: Account, alive: Alive) -> Iterator[bool]:
    """Lists the object while the caller finds out which records of ours are new, where only a listing will do; False elsewhere.

    At the end of the block the index is current.
    """
    if not account.rule.steps or not account.can(Capability.PULL) or _can_ask(account) or _usable(account, quick=False):
        yield False
        return
    with ThreadPoolExecutor(1, thread_name_prefix="list") as pool:
        listing = pool.submit(_list_apart, account, alive)
        yield True
        listing.result()


def _list_apart(account: Account, alive: Alive) -> None:
    try:
        _list(account, alive)
    finally:
        connections.close_all()


# how current it is


def _usable(account: Account, quick: bool) -> IndexState | None:
    """The index as it is, if bringing it up to date can do."""
    state = _state(account.scope)
    if state is None or not account.object_type.pull_since or not Spec.from_json(state.indexed).covers(account.needed):
        return None
    return state if quick or index_rows.now() - state.listed_at < cadence() else None


def _state(scope: Scope) -> IndexState | None:
    return IndexState.objects.filter(connection_id=scope.connection_id, object_type=scope.object_type).first()


_LISTED = """
INSERT INTO syncline_indexstate AS s (connection_id, object_type, indexed, listed_at, seen_until)
VALUES (%s, %s, %s::jsonb, %s, %s)
ON CONFLICT (connection_id, object_type) DO UPDATE
SET indexed = excluded.indexed, listed_at = excluded.listed_at, seen_until = excluded.seen_until
WHERE s.listed_at < excluded.listed_at
"""


def _save_listed(scope: Scope, spec: Spec, began: dt.datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_LISTED, [scope.connection_id, scope.object_type, dumps(spec.to_json()), began, began])


def _save_seen(state: IndexState, began: dt.datetime) -> None:
    """Not if it was listed meanwhile: that listing may hold other properties."""
    same = IndexState.objects.filter(pk=state.pk, listed_at=state.listed_at)
    same.filter(seen_until__lt=began).update(seen_until=began)


# asking for values


_VALUES = """
SELECT coalesce(sum((n + 99) / 100), 0) FROM (
    SELECT count(DISTINCT value) AS n FROM syncline_candidate WHERE run_id = %s GROUP BY step) q
"""


def _asking_is_cheaper(account: Account, state: IndexState | None, quick: bool) -> bool:
    if not _can_ask(account):
        return False
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, [account.run_id])
        asking = int(cursor.fetchone()[0])
    return quick or asking <= FEW_CALLS if state else asking < _listing_calls(account)


def _can_ask(account: Account) -> bool:
    steps = account.rule.steps
    if not account.can(Capability.MATCH) or not steps or any(s.only_if_unique for s in steps):
        return False
    return {p.name for p in account.object_type.properties if p.unique} >= {s.property for s in steps}


def _listing_calls(account: Account) -> float:
    count = account.object_type.count
    return float("inf") if count is None else max(1, -(-count // account.object_type.page_size))


def _ask(account: Account, alive: Alive) -> None:
    """What answers to these values no longer is forgotten: somebody changed it there, or deleted it."""
    for number, step in enumerate(account.rule.steps):
        name = index_name(step)
        for values in _distinct_values(account.run_id, number):
            began = index_rows.now()
            found = account.connector.call.match(
                session=account.session, object_type=account.object_type, step=step.property, values=values
            )
            index_rows.store(account.scope, ((name, value, remote) for value, ids in found.items() for remote in ids))
            index_rows.forget(account.scope, "property = %s AND value = ANY(%s) AND seen_at < %s", name, values, began)
            alive()
            crash.point("prepare.page")


def _distinct_values(run_id: int, step: int, size: int = 100) -> Iterator[list[str]]:
    after = ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT DISTINCT value FROM syncline_candidate WHERE run_id = %s AND step = %s AND value > %s"
                " ORDER BY value LIMIT %s",
                [run_id, step, after, size],
            )
            values = [row[0] for row in cursor.fetchall()]
        if not values:
            return
        yield values
        after = values[-1]


# what changed since


def _catch_up(account: Account, state: IndexState, alive: Alive, quick: bool) -> bool:
    """False when it does not pay, or the connector does not know a way after all: then everything is to be listed."""
    began, spec = index_rows.now(), Spec.from_json(state.indexed)
    late = dt.timedelta(seconds=account.object_type.visibility_lag + CLOCKS_APART)
    unkeyed = quick and bool(account.object_type.unique_key)
    request = PullRequest(properties=spec.properties, since=state.seen_until - late, unkeyed=unkeyed)
    try:
        for number, (asked, page) in enumerate(_pages(account, request)):
            if not number and not quick and _too_many(account, page):
                return False
            index_rows.take(account.scope, spec, page.records, [r.id for r in page.records], asked)
            alive()
            crash.point("prepare.page")
    except UnsupportedFeature as refused:
        log.info("Connection %s: %s is listed whole: %s", account.scope.connection_id, account.object_type.title, refused)
        return False
    if not unkeyed:
        _save_seen(state, began)
    return True


def _too_many(account: Account, page: Page) -> bool:
    """Searches are slower than lists: with half of the records changed, a listing is done sooner."""
    count = account.object_type.count
    return page.total is not None and page.total > 2 * len(page.records) and count is not None and 2 * page.total > count


def _pages(account: Account, request: PullRequest) -> Iterator[tuple[dt.datetime, Page]]:
    """Each page with the moment before it was asked for."""
    pages = iter(account.connector.call.pull(session=account.session, object_type=account.object_type, request=request))
    while True:
        asked = index_rows.now()
        page = next(pages, None)
        if page is None:
            return
        yield asked, page


_DOUBTFUL = """
SELECT DISTINCT i.remote_id FROM syncline_candidate c
JOIN unnest(%s::smallint[], %s::text[]) AS p (step, name) ON p.step = c.step
CROSS JOIN LATERAL (
    SELECT k.remote_id, k.seen_at, count(*) OVER () AS hits FROM syncline_identityindex k
    WHERE k.connection_id = %s AND k.object_type = %s AND k.property = p.name AND k.value = c.value LIMIT 20) i
WHERE c.run_id = %s AND c.busy AND i.seen_at < %s AND (i.hits > 1 OR EXISTS (
    SELECT 1 FROM syncline_link l WHERE l.connection_id = %s AND l.object_type = %s AND l.remote_id = i.remote_id
    AND (l.dataset <> %s OR l.local_key <> c.local_key)))
LIMIT %s
"""


def _confirm(account: Account, began: dt.datetime, alive: Alive, quick: bool) -> bool:
    """Hits that would send a record to review are looked at once more: one of them may have been deleted or merged.

    A hit that is adopted needs no such look, because the write tells. False when there are too many.
    """
    if not account.can(Capability.FETCH):
        return True
    doubtful = _doubtful(account, began)
    if len(doubtful) > MOST_DOUBTFUL and not quick:
        return False
    for start in range(0, len(doubtful), 1000):
        ids, asked = doubtful[start : start + 1000], index_rows.now()
        spec = account.needed
        found = account.connector.call.fetch(
            session=account.session,
            object_type=account.object_type,
            ids=ids,
            properties=spec.properties,
            associations=(),
            history=(),
        )
        index_rows.take(account.scope, spec, list(found.values()), ids, asked)
        alive()
    return True


def _doubtful(account: Account, began: dt.datetime) -> list[str]:
    scope, names = account.scope, [index_name(step) for step in account.rule.steps]
    with connection.cursor() as cursor:
        cursor.execute(
            _DOUBTFUL,
            [
                list(range(len(names))),
                names,
                scope.connection_id,
                scope.object_type,
                account.run_id,
                began,
                scope.connection_id,
                scope.object_type,
                scope.dataset,
                MOST_DOUBTFUL + 1,
            ],
        )
        return [row[0] for row in cursor.fetchall()]


# all of it


def _list(account: Account, alive: Alive) -> None:
    """The whole object, page by page; what was not seen again has gone.

    What another active run has seen since it was started stays: it may match by other properties and still need them.
    """
    scope, spec, began = account.scope, account.wanted(), index_rows.now()
    for _, page in _pages(account, PullRequest(properties=spec.properties)):
        index_rows.store(scope, index_rows.rows(spec, page.records))
        alive()
        crash.point("prepare.page")
    index_rows.forget(
        scope, f"seen_at < least(%s, ({_OTHERS_BEGAN}))", began, scope.connection_id, scope.object_type, account.run_id
    )
    _save_listed(scope, spec, began)


_OTHERS_BEGAN = """SELECT min(r.started_at) FROM syncline_run r JOIN syncline_sync s ON s.id = r.sync_id
    WHERE s.connection_id = %s AND s.object_type = %s AND r.state = 'running' AND r.id <> %s"""
