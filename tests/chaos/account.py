"""The ledger against the account: one live remote record per record of ours, and each of ours accounted for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from syncline.ledger.models import Link
from syncline.registry import dataset
from syncline.runs.models import Run
from syncline.syncs.models import Sync
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import Admin

DELIVERED = {Link.State.DELIVERED, Link.State.WAITING}
EXPLAINED = {Link.State.AMBIGUOUS, Link.State.REJECTED}
#: until a calm run has followed, some may be in doubt or put off
ON_THE_WAY = {Link.State.UNCERTAIN, Link.State.PENDING}
SHOWN = 30
UNIQUE = {"companies": (KEY.name, "domain"), "contacts": (KEY.name, "email")}


@dataclass
class Tally:
    duplicates: int = 0
    losses: int = 0
    miscounts: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, what: str) -> None:
        self.told.append(what)
        if len(self.told) <= SHOWN:
            print(f"  ! {what}", flush=True)


def compare(sync: Sync, admin: Admin, tally: Tally, name: str, *, calm: bool) -> None:
    live = {one["id"]: one["properties"] for one in admin.live(sync.object_type)}
    links = {link.local_key: link for link in Link.objects.filter(connection=sync.connection, object_type=sync.object_type)}
    _duplicates(sync, live, links, tally, name, calm=calm)
    for key in dataset(sync.dataset).rows(()).values_list("id", flat=True):
        link = links.get(str(key))
        if not _accounted(link, live, calm=calm):
            tally.losses += 1
            tally.tell(f"{name}: {sync.object_type} {key} is {link.state if link else 'not in the ledger'}")


def _duplicates(sync: Sync, live: dict[str, Any], links: dict[str, Link], tally: Tally, name: str, *, calm: bool) -> None:
    for unique in UNIQUE[sync.object_type]:
        counted = Counter(one.get(unique) for one in live.values())
        doubled = [value for value, count in counted.items() if value and count > 1]
        tally.duplicates += len(doubled)
        for value in doubled:
            tally.tell(f"{name}: {counted[value]} {sync.object_type} with {unique} {value}")
    if calm:
        mine = {link.remote_id for link in links.values()}
        stray = [key for key, one in live.items() if one.get(KEY.name) and key not in mine]
        tally.duplicates += len(stray)
        for key in stray:
            tally.tell(f"{name}: {sync.object_type} {key} is in the account and in no link")


def _accounted(link: Link | None, live: dict[str, Any], *, calm: bool) -> bool:
    if link is None:
        return False
    if link.state in DELIVERED:
        return link.remote_id in live
    return (link.state in EXPLAINED and bool(link.reason)) or (not calm and link.state in ON_THE_WAY)


def check_run(run: Run, sync: Sync, tally: Tally, name: str) -> None:
    """It ended by itself, not because a part was given up, and its counters add up."""
    counted = sum(getattr(run, one) for one in Run.NAMES if one not in ("read", "waiting", "calls"))
    total = dataset(sync.dataset).rows(()).count()
    if run.state not in {Run.State.SUCCEEDED, Run.State.PROBLEMS}:
        tally.miscounts += 1
        tally.tell(f"{name}: run {run.pk} ended {run.state}: {run.reason}")
    elif (counted, run.read) != (total, total):
        tally.miscounts += 1
        tally.tell(f"{name}: run {run.pk} counts {counted} of {run.read} read; there are {total}. {run.reason}")
