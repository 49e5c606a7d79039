"""The API: who may ask, what is answered, how old an answer may be, and that no change is passed over."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient
from syncline_licensing import api, cache, changes
from syncline_licensing.cache import Answers
from syncline_licensing.models import Customer, License, LicenseChange, Sku
from syncline_licensing.services import Reason, entitlement

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
NEVER = 2**50  # the number of a transaction that is yet to come
HOUR = dt.timedelta(hours=1)
ENTITLEMENTS = "/api/v1/entitlements"


@pytest.fixture(autouse=True)
def _fresh() -> None:
    api.answers.forget()


@pytest.fixture
def reader() -> User:
    user = User.objects.create_user("ann", password="pass-of-ann")
    user.user_permissions.add(Permission.objects.get(codename="view_license"))
    return user


@pytest.fixture
def client(reader: User) -> APIClient:
    made = APIClient()
    made.force_authenticate(reader)
    return made


@pytest.fixture
def acme() -> Customer:
    made = Customer.objects.create(salesforce_id="a-1", name="Acme", signed_tos=True, terms_since=NOON)
    first, second, _ = (Sku.objects.create(code=f"SKU{n}", name=f"Product {n}") for n in (1, 2, 3))
    License.objects.create(customer=made, sku=first, active=True, since=NOON + HOUR)
    License.objects.create(customer=made, sku=second, active=False, since=NOON, until=NOON + HOUR)
    return made


def asked(client: APIClient, customer: str, sku: str) -> dict[str, Any]:
    answer = client.get(ENTITLEMENTS, {"customer": customer, "sku": sku})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    found: dict[str, Any] = json.loads(answer.content)
    return found


class TestEntitlements:
    def test_yes_and_since_when(self, client: APIClient, acme: Customer) -> None:
        assert asked(client, "a-1", "SKU1") == {
            "customer": "a-1", "sku": "SKU1", "entitled": True, "since": "2026-11-26T13:00:00Z", "until": None,
            "reason": None, "explanation": "",
        }  # fmt: skip

    def test_since_is_when_the_last_of_licence_and_terms_began(self, acme: Customer) -> None:
        Customer.objects.update(terms_since=NOON + 2 * HOUR)
        assert entitlement("a-1", "SKU1").since == NOON + 2 * HOUR

    @pytest.mark.parametrize(
        ("customer", "sku", "reason"),
        [
            ("nobody", "SKU1", "unknown_customer"),
            ("nobody", "SKU9", "unknown_customer"),
            ("a-1", "SKU9", "unknown_sku"),
            ("a-1", "sku1", "unknown_sku"),
            ("a-1", "SKU3", "no_license"),
            ("a-1", "SKU2", "license_ended"),
            ("a\0", "SKU2", "unknown_customer"),
        ],
    )
    def test_no_and_why_not(self, client: APIClient, acme: Customer, customer: str, sku: str, reason: str) -> None:
        told = asked(client, customer, sku)
        assert (told["entitled"], told["reason"], told["since"]) == (False, reason, None)
        assert told["explanation"].endswith(".")
        assert told["until"] == ("2026-11-26T13:00:00Z" if reason == "license_ended" else None)

    def test_without_the_terms_or_the_product_a_licence_is_worth_nothing(self, acme: Customer) -> None:
        Customer.objects.update(signed_tos=False, terms_since=None)
        assert entitlement("a-1", "SKU1").reason is Reason.TERMS_NOT_SIGNED
        Sku.objects.update(active=False)
        assert entitlement("a-1", "SKU1").reason is Reason.INACTIVE_SKU

    @pytest.mark.parametrize("query", [{}, {"customer": "a"}, {"sku": "SKU1"}, {"customer": " ", "sku": "SKU1"}])
    def test_half_a_question_is_told_what_is_missing(self, client: APIClient, query: dict[str, str]) -> None:
        answer = client.get(ENTITLEMENTS, query)
        assert answer.status_code == 400
        assert "customer=" in answer.json()["detail"]

    def test_a_hot_question_asks_the_database_nothing(self, client: APIClient, acme: Customer, reader: User) -> None:
        reader.has_perm("x")
        asked(client, "a-1", "SKU1")
        with CaptureQueriesContext(connection) as queries:
            asked(client, "a-1", "SKU1")
        assert len(queries) == 0


class TestAge:
    def test_no_answer_is_older_than_the_bound(self) -> None:
        now, truth = [0.0], [b"before"]
        known = Answers(seconds=5, clock=lambda: now[0])
        assert known.get(("a", "s"), lambda: truth[0]) == b"before"
        truth[0] = b"after"
        now[0] = 4.999
        assert known.get(("a", "s"), lambda: truth[0]) == b"before"
        now[0] = 5.0
        assert known.get(("a", "s"), lambda: truth[0]) == b"after"

    def test_an_answer_that_took_long_to_find_is_as_old_as_its_question(self) -> None:
        now = [0.0]
        known = Answers(seconds=5, clock=lambda: now[0])

        def slow() -> bytes:
            now[0] += 4
            return b"slow"

        known.get(("a", "s"), slow)
        now[0] = 5.0
        assert known.get(("a", "s"), lambda: b"new") == b"new"

    def test_a_change_holds_for_the_api_within_the_bound(
        self, client: APIClient, acme: Customer, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        now = [100.0]
        monkeypatch.setattr(api, "answers", Answers(clock=lambda: now[0]))
        settings.LICENSING_CACHE_SECONDS = 2
        assert asked(client, "a-1", "SKU1")["entitled"]
        License.objects.update(active=False, until=NOON)
        now[0] = 102.0
        assert not asked(client, "a-1", "SKU1")["entitled"]

    def test_the_bound_is_five_seconds_unless_it_is_set(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert cache.bound() == 5
        monkeypatch.setenv("LICENSING_CACHE_SECONDS", "0")
        assert cache.bound() == 0
        settings.LICENSING_CACHE_SECONDS = 7
        assert cache.bound() == 7

    def test_no_bound_means_no_memory_and_memory_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known = Answers(seconds=0)
        assert [known.get(("a", "s"), lambda n=n: n) for n in (b"1", b"2")] == [b"1", b"2"]  # type: ignore[misc]
        monkeypatch.setattr(cache, "MOST", 10)
        known = Answers(seconds=60)
        for number in range(35):
            known.get((str(number), "s"), lambda: b"")
            assert len(known._known) <= 10


class TestWhoMayAsk:
    ADDRESSES = (f"{ENTITLEMENTS}?customer=a&sku=b", "/api/v1/customers", "/api/v1/customers/a-1/licenses", "/api/v1/licenses",
                 "/api/v1/licenses/changes")  # fmt: skip

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_strangers_and_people_without_the_permission_may_not(self, acme: Customer, address: str) -> None:
        stranger, somebody = APIClient(), APIClient()
        somebody.force_authenticate(User.objects.create_user("bob"))
        assert stranger.get(address).status_code == 401
        refused = somebody.get(address)
        assert refused.status_code == 403
        assert "licensing.view_license" in refused.json()["detail"]

    @pytest.mark.parametrize("address", ADDRESSES)
    def test_people_with_a_token_may(self, acme: Customer, reader: User, address: str) -> None:
        client = APIClient()
        token = client.post("/api/v1/token/", {"username": "ann", "password": "pass-of-ann"}).json()["access"]
        assert client.get(address, headers={"authorization": f"Bearer {token}"}).status_code == 200


class TestLists:
    def test_the_licences_of_a_customer(self, client: APIClient, acme: Customer) -> None:
        told = client.get("/api/v1/customers/a-1/licenses").json()
        assert (told["customer"]["salesforce_id"], told["customer"]["name"], told["customer"]["signed_tos"]) == (
            "a-1",
            "Acme",
            True,
        )
        assert [(one["sku"], one["product"], one["active"], one["entitled"]) for one in told["licenses"]] == [
            ("SKU1", "Product 1", True, True),
            ("SKU2", "Product 2", False, False),
        ]
        assert client.get("/api/v1/customers/nobody/licenses").status_code == 404

    def test_lists_are_filtered_and_paged_by_cursor(self, client: APIClient, acme: Customer) -> None:
        other = Customer.objects.create(salesforce_id="b-2", name="Bolt")
        License.objects.create(customer=other, sku=Sku.objects.get(code="SKU1"), active=True, since=NOON)

        def found(address: str) -> list[Any]:
            answer = client.get(address)
            assert answer.status_code == 200
            return [(one.get("salesforce_id") or one["customer"], one.get("sku")) for one in answer.json()["results"]]

        assert found("/api/v1/customers?sku=SKU1&signed_tos=true") == [("a-1", None)]
        assert found("/api/v1/customers?name=bol") == [("b-2", None)]
        assert found("/api/v1/customers?sku=SKU2") == []
        assert found("/api/v1/licenses?active=true&sku=SKU1") == [("a-1", "SKU1"), ("b-2", "SKU1")]
        assert found("/api/v1/licenses?customer=a-1&since=2026-11-26T12:30:00Z") == [("a-1", "SKU1")]
        first = client.get("/api/v1/licenses?page_size=2").json()
        assert len(first["results"]) == 2
        assert found(first["next"]) == [("b-2", "SKU1")]

    def test_a_list_costs_the_same_however_long_it_is(self, client: APIClient, acme: Customer) -> None:
        client.get("/api/v1/licenses")
        for number in range(20):
            one = Customer.objects.create(salesforce_id=f"c{number}")
            License.objects.create(customer=one, sku=Sku.objects.get(code="SKU1"), active=True, since=NOON)
        with CaptureQueriesContext(connection) as queries:
            assert len(client.get("/api/v1/licenses").json()["results"]) == 22
        assert len(queries) == 1

    def test_the_schema_describes_every_address(self, capsys: pytest.CaptureFixture[str]) -> None:
        schema: Any = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
        for path in ("entitlements", "customers/{salesforce_id}/licenses", "licenses/changes", "licenses", "customers"):
            assert f"/api/v1/{path}" in schema["paths"], sorted(schema["paths"])
        assert "apiKey" in schema["components"]["securitySchemes"]
        assert "licensing" not in capsys.readouterr().err


def history(customer: Customer, count: int = 1) -> list[int]:
    return [LicenseChange.objects.create(customer=customer, active=True, at=NOON).pk for _ in range(count)]


def nobody_holds_back() -> None:
    """What other processes write on this server, even into databases of their own, holds changes back until it has ended."""
    end = time.monotonic() + 60
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "SELECT count(*) FROM licensing_licensechange"
                " WHERE tx >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint AND tx < %s",
                [NEVER],
            )
            if cursor.fetchone()[0] == 0:
                return
            assert time.monotonic() < end, "a transaction on this server does not end"
            time.sleep(0.02)


@pytest.mark.django_db(transaction=True)
class TestChanges:
    def test_changes_come_in_pages_to_the_end_and_go_on_from_there(self, client: APIClient, acme: Customer) -> None:
        history(acme, 5)
        nobody_holds_back()
        seen, cursor = 0, ""
        for expected, more in ((2, True), (2, True), (1, False), (0, False)):
            told = client.get(f"/api/v1/licenses/changes?limit=2&cursor={cursor}").json()
            assert (len(told["results"]), told["more"]) == (expected, more)
            seen, cursor = seen + expected, told["cursor"]
        LicenseChange.objects.create(customer=acme, sku=Sku.objects.get(code="SKU2"), active=False, at=NOON, event="1:9")
        nobody_holds_back()
        told = client.get("/api/v1/licenses/changes", {"cursor": cursor}).json()
        assert told["results"] == [
            {"customer": "a-1", "sku": "SKU2", "active": False, "at": "2026-11-26T12:00:00Z", "event": "1:9"}
        ]

    def test_what_is_committed_late_is_not_passed_over(self, client: APIClient, acme: Customer) -> None:
        """The slow one takes its id first and its transaction second; the quick one is committed meanwhile."""
        taken, go_on = threading.Event(), threading.Event()
        slow_id: list[int] = []

        def slow() -> None:
            with transaction.atomic():
                slow_id.extend(history(acme))
                taken.set()
                go_on.wait(20)
            connections.close_all()

        thread = threading.Thread(target=slow)
        thread.start()
        assert taken.wait(20)
        [quick_id] = history(acme)
        assert slow_id[0] < quick_id
        first = client.get("/api/v1/licenses/changes").json()
        go_on.set()
        thread.join(20)
        nobody_holds_back()
        second = client.get("/api/v1/licenses/changes", {"cursor": first["cursor"]}).json()
        assert [len(first["results"]), len(second["results"])] == [0, 2]

    def test_an_id_that_was_taken_early_by_a_later_transaction_is_not_passed_over(
        self, client: APIClient, acme: Customer
    ) -> None:
        """The later transaction took the smaller id, and ends last."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            latest = cursor.fetchone()[0]
        low, high = history(acme, 2)
        LicenseChange.objects.filter(pk=high).update(tx=latest - 2)
        LicenseChange.objects.filter(pk=low).update(tx=NEVER)
        nobody_holds_back()
        first = changes.since(changes.Cursor(), 10)
        LicenseChange.objects.filter(pk=low).update(tx=latest - 1)
        nobody_holds_back()
        second = changes.since(first[-1].cursor, 10)
        assert [one.cursor.id for one in (*first, *second)] == [high, low]

    def test_after_a_restore_all_is_there_and_old_cursors_are_told_to_begin_anew(self, client: APIClient, acme: Customer) -> None:
        history(acme, 3)
        LicenseChange.objects.update(tx=NEVER)
        assert client.get("/api/v1/licenses/changes").json()["results"] == []
        assert changes.settle() == 3
        assert len(client.get("/api/v1/licenses/changes").json()["results"]) == 3
        gone = client.get("/api/v1/licenses/changes", {"cursor": f"{NEVER}-1"})
        assert gone.status_code == 410
        assert "Begin anew" in gone.json()["detail"]

    @pytest.mark.parametrize(
        "query", ["cursor=x", "cursor=1", "cursor=-1-2", "cursor=9999999999999999999-1", "limit=0", "limit=x"]
    )
    def test_odd_questions_are_told_so(self, client: APIClient, query: str) -> None:
        assert client.get(f"/api/v1/licenses/changes?{query}").status_code == 400


@pytest.mark.parametrize("cursor", ["cD1hYmM=", "cD0lMDA=", "cD0x", "x"])
@pytest.mark.parametrize("address", ["/api/v1/licenses", "/api/v1/customers"])
def test_a_cursor_that_is_made_up_is_told_so(client: APIClient, acme: Customer, address: str, cursor: str) -> None:
    client.raise_request_exception = False
    assert client.get(address, {"cursor": cursor}).status_code == (200 if cursor == "cD0x" else 404)
