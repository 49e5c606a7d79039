"""The companies of an account against ours, record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from syncline.ledger.models import Entry, Link
from syncline.ledger.pulled import Arrival
from syncline_companies.models import Company
from syncline_hubspot.sandbox.process import Admin


def compare(admin: Admin) -> None:
    """Each company there is one here, with its values; the ledger knows it once, and made it once."""
    there = {record["id"]: record["properties"] for record in admin.live("companies")}
    links = dict(Link.objects.filter(object_type="companies").values_list("remote_id", "local_key"))
    here = {str(c.pk): (c.name, c.description) for c in Company.objects.all()}
    assert links.keys() == there.keys()
    assert sorted(links.values()) == sorted(here)
    wrong = [id_ for id_, p in there.items() if here[links[id_]] != (p["name"], p.get("description") or "")]
    assert wrong == []
    assert Arrival.objects.count() == 0
    created = Counter(Entry.objects.filter(status="created").values_list("link_id", flat=True))
    assert set(created.values()) == {1}
    assert len(created) == len(there)


def written() -> Mapping[str, int]:
    """How often a row of ours was written for a remote record."""
    remote_ids = {link: str(remote_id) for link, remote_id in Link.objects.values_list("id", "remote_id")}
    entries = Entry.objects.filter(status__in=("created", "updated")).values_list("link_id", flat=True)
    return Counter(remote_ids[link] for link in entries)
