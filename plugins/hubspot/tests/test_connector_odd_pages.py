"""Pulls from pages that repeat, skip, go round in circles or cannot be read: told, and never taken for the end."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from syncline.contract import ObjectType, Page, Permanent, PullRequest, RemoteRecord, Retryable, UnsupportedFeature
from syncline_hubspot import changes, linking, listing
from syncline_hubspot.client import Ahead, Client
from syncline_hubspot.wire import record

pytestmark = pytest.mark.unit

KIND = ObjectType("companies", "Companies", (), {})
SINCE = PullRequest(("name",), since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))


class Script(Client):
    """Gives one answer after the other, the last one for ever; `sent` is what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers, self.sent = list(answers), list[tuple[str, Any, Any]]()

    def call(self, method: str, path: str, body: Any = None, params: Any = None) -> dict[str, Any]:
        self.sent.append((path, body, params))
        assert len(self.sent) < 50, "it would never end"
        answer: dict[str, Any] = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer


def page(*ids: Any, after: str = "", **more: Any) -> dict[str, Any]:
    results = [{"id": one, "properties": {"name": "A"}} for one in ids]
    return {"results": results, **({"paging": {"next": {"after": after}}} if after else {}), **more}


def listed(client: Client, request: PullRequest | None = None) -> list[str]:
    return _ids(listing.listed(client, KIND, request or PullRequest(("name",)), None))


def _ids(pages: Any) -> list[str]:
    found: Sequence[Page] = list(pages)
    return [one.id for each in found for one in each.records]


def test_a_listing_that_goes_round_in_a_circle_is_told_soon() -> None:
    for length in (1, 2, 3, 7):
        circle = [page(str(n), after=str(n % length + 1)) for n in range(40)]
        with pytest.raises(Retryable, match="same page twice"):
            listed(Script(*circle))


def test_a_long_straight_listing_is_no_circle() -> None:
    ahead = Ahead(None)
    assert [ahead.to(str(n)) for n in range(10_000)][-1] == "9999"


@pytest.mark.parametrize("odd", [{"properties": {}}, {"id": None}, {"id": ""}, {"id": "1", "properties": [1]}, "text", None, 5])
def test_a_record_without_id_or_form_is_never_passed_over(odd: Any) -> None:
    with pytest.raises(Retryable, match="without an id"):
        listed(Script({"results": [{"id": "1"}, odd]}))


@pytest.mark.parametrize(
    "second",
    [
        page("5", "5", total=9),
        page("7", "6", total=9),
        page("4", "6", total=9),
        page("3", "4", total=9),
        page("x", total=9),
        {"results": [{}], "total": 9},
        {"results": ["text"], "total": 9},
    ],
    ids=["twice", "backwards", "overlapping", "repeated", "no number", "no id", "no record"],
)
def test_a_search_that_does_not_go_on_from_the_last_id_is_told(second: dict[str, Any]) -> None:
    with pytest.raises(Retryable, match="out of order"):
        _ids(changes.pull(Script(page("3", "4", after="2", total=9), second), KIND, SINCE))


def test_a_search_without_a_total_is_told() -> None:
    with pytest.raises(Retryable, match="nothing in it"):
        _ids(changes.pull(Script({"results": []}), KIND, SINCE))


def test_archived_hits_that_are_counted_and_not_shown_are_stepped_over_up_to_the_wall() -> None:
    hollow = {"total": 20_000, "results": [], "paging": {"next": {"after": "200"}}}
    script = Script(hollow, hollow, page("7", total=1), page("7", total=1), page())
    assert _ids(changes.pull(script, KIND, SINCE))[:1] == ["7"]
    assert [body.get("after") for _, body, _ in script.sent[:3]] == [None, None, "200"]

    class Endless(Script):
        def call(self, method: str, path: str, body: Any = None, params: Any = None) -> dict[str, Any]:
            return hollow

    with pytest.raises(UnsupportedFeature, match="archived"):
        _ids(changes.pull(Endless(), KIND, SINCE))


@pytest.mark.parametrize("position", ["abc", "12", "1+", "+1", "-1+0", "1+0+0", "١+0", "1.5+0"])
def test_a_position_that_somebody_made_up_is_refused_with_a_sentence(position: str) -> None:
    request = PullRequest(("name",), since=SINCE.since, position=position)
    with pytest.raises(Permanent, match="Reset the position"):
        _ids(changes.pull(Script(page(total=0)), KIND, request))


def ends(own: str, *to: int, after: str = "") -> dict[str, Any]:
    more = {"paging": {"next": {"after": after}}} if after else {}
    return {"from": {"id": own}, "to": [{"toObjectId": one, "associationTypes": []} for one in to], **more}


def test_associations_are_read_a_thousand_at_a_time_and_on_to_their_end() -> None:
    ids = [str(n) for n in range(1500)]
    script = Script({"results": [ends("0", 1, 2, after="2")]}, {"results": [ends("0", 3), ends("1200", 9)]})
    found = linking.read(script, "companies", "contacts", ids)
    assert (found["0"], found["1200"], found["5"]) == (("1", "2", "3"), ("9",), ())
    assert [len(body["inputs"]) for _, body, _ in script.sent] == [1000, 501]
    assert script.sent[1][1]["inputs"][-1] == {"id": "0", "after": "2"}


def test_associations_that_come_again_and_again_are_told() -> None:
    with pytest.raises(Retryable, match="same associations of 1 twice"):
        linking.read(Script({"results": [ends("1", 5, after="2")]}), "companies", "contacts", ["1"])


def test_a_word_about_associations_that_is_not_none_is_told() -> None:
    none = {"category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
    assert linking.read(Script({"errors": [none]}), "companies", "contacts", ["1"]) == {"1": ()}
    with pytest.raises(Retryable, match="on fire"):
        linking.read(Script({"errors": [none, {"category": "INTERNAL", "message": "on fire"}]}), "companies", "contacts", ["1"])


def test_a_hollow_answer_about_associations_is_asked_for_again() -> None:
    script = Script({"results": []}, {"results": [ends("1", 5)]})
    assert linking.read(script, "companies", "contacts", ["1"]) == {"1": ("5",)}


def told(**associations: Any) -> dict[str, Any]:
    return {"results": [{"id": "1", "properties": {}, "associations": associations}]}


@pytest.mark.parametrize(
    ("wanted", "associations", "calls"),
    [
        (("contacts",), {"contacts": {"results": [{"id": "5"}]}}, 1),
        (("line_items",), {"line items": {"results": [{"id": "5"}]}}, 1),
        (("2-7",), {"p1_cars": {"results": [{"id": "5"}]}}, 2),
        (("contacts",), {"contacts": {"results": [{"id": "4"}], "paging": {"next": {"after": "5"}}}}, 2),
    ],
    ids=["as asked for", "by another spelling", "by a name of its own", "not all of them"],
)
def test_a_list_is_believed_about_associations_as_far_as_it_goes(
    wanted: tuple[str, ...], associations: dict[str, Any], calls: int
) -> None:
    script = Script(told(**associations), {"results": [ends("1", 5)]})
    (found,) = next(listing.listed(script, KIND, PullRequest((), associations=wanted), None)).records
    assert found.associations == {wanted[0]: ("5",)}
    assert len(script.sent) == calls


def read(**properties: Any) -> RemoteRecord:
    return record(KIND, {"id": "9", "properties": properties})


@pytest.mark.parametrize(
    ("properties", "merged"),
    [
        ({"hs_merged_object_ids": "1;2"}, ("1", "2")),
        ({"hs_calculated_merged_vids": "3:1493131580297;4:1493131580298", "hs_merged_object_ids": "4"}, ("4", "3")),
        ({"hs_merged_object_ids": "9;1;;1"}, ("1",)),
        ({"hs_merged_object_ids": None}, ()),
        ({}, ()),
    ],
)
def test_both_lists_of_merged_records_are_read(properties: dict[str, Any], merged: tuple[str, ...]) -> None:
    assert read(**properties).merged == merged


@pytest.mark.parametrize("ask", [listed, lambda c: _ids(changes.pull(c, KIND, SINCE))], ids=["list", "search"])
def test_who_was_merged_is_always_asked_for(ask: Callable[[Client], object]) -> None:
    script = Script(page(total=0))
    ask(script)
    _, body, params = script.sent[0]
    assert "hs_merged_object_ids" in (body or params)["properties"]


def test_the_later_of_change_and_archiving_is_the_moment_of_an_archived_record() -> None:
    raw = {"id": "1", "archived": True, "updatedAt": "2026-01-01T00:00:00Z", "archivedAt": "2026-01-02T00:00:00Z"}
    assert record(KIND, raw).modified_at == dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
    assert record(KIND, {"id": "1", "updatedAt": "some day"}).modified_at is None


def test_archived_records_are_asked_for_as_hubspot_writes_it() -> None:
    script = Script(page())
    _ids(listing.archived(script, KIND, PullRequest((), archived=True)))
    assert script.sent[0][2]["archived"] == "true"
