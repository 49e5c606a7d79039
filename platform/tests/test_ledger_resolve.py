"""A person's decisions about links that a push left for review."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from syncline.connections.models import Connection
from syncline.contract import ConfigError
from syncline.ledger.models import Entry, Link
from syncline.ledger.resolve import link_by_hand, look_again, unlink

pytestmark = pytest.mark.django_db


def make(key: str, **values: object) -> Link:
    owner, _ = User.objects.get_or_create(username="owner")
    connection, _ = Connection.objects.get_or_create(connector="toy", name="Toy", owner=owner)
    return Link.objects.create(connection=connection, object_type="companies", dataset="d.c", local_key=key, **values)


def test_a_link_made_by_hand_is_written_whole_by_the_next_run() -> None:
    link = make("1", state=Link.State.AMBIGUOUS, reason="two match", source_hash=5, revision=3)
    link_by_hand(link, " 77 ", "Ann")
    link.refresh_from_db()
    assert (link.remote_id, link.state, link.reason, link.source_hash, link.revision) == ("77", "pending", "", None, 4)
    assert Entry.objects.get(link_id=link.pk).message == "Linked to 77 by Ann."


def test_a_remote_record_that_is_linked_already_is_refused_by_name() -> None:
    make("1", remote_id="77", state=Link.State.DELIVERED)
    other = make("2", state=Link.State.AMBIGUOUS)
    with pytest.raises(ConfigError, match=r"77 is linked to d\.c 1 already"):
        link_by_hand(other, "77", "Ann")
    other.refresh_from_db()
    assert other.remote_id is None
    assert not Entry.objects.filter(link_id=other.pk).exists()


def test_an_empty_remote_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="Give the id"):
        link_by_hand(make("1"), "  ", "Ann")


def test_a_decision_on_a_page_that_is_out_of_date_is_refused() -> None:
    link = make("1", state=Link.State.AMBIGUOUS)
    Link.objects.filter(pk=link.pk).update(revision=9)
    with pytest.raises(ConfigError, match="Load the page again"):
        link_by_hand(link, "77", "Ann")


def test_unlinking_forgets_what_was_delivered() -> None:
    link = make("1", remote_id="77", delivered={"name": "x"}, state=Link.State.DELIVERED)
    unlink(link, "Ann")
    link.refresh_from_db()
    assert (link.remote_id, link.delivered, link.state) == (None, {}, "pending")


def test_looking_again_keeps_the_link_and_forgets_the_refusal() -> None:
    links = [make(str(n), remote_id=str(n), state=Link.State.REJECTED, refused_digest="abc", source_hash=1) for n in range(3)]
    assert look_again(links, "Ann") == 3
    assert {(one.state, one.refused_digest, one.source_hash) for one in Link.objects.all()} == {("pending", "", None)}
    assert set(Link.objects.values_list("remote_id", flat=True)) == {"0", "1", "2"}
