"""What messages make of customers and licences: in order, once, in batches, and with whatever else arrives."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from syncline.contract import Code, LocalChange, Op, Status, Written
from syncline_licensing.datasets import CustomerDataset
from syncline_licensing.models import Customer, License, LicenseChange, Sku, UnknownSku
from syncline_licensing.services import add_products

pytestmark = pytest.mark.django_db
CUSTOMERS = CustomerDataset()
NOON = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
OWNER: Any = None


@pytest.fixture
def skus(db: None) -> list[Sku]:
    return [Sku.objects.create(code=f"SKU{number}") for number in (1, 2, 3)]


def told(sequence: int | None, who: str = "a", signed: Any = True, at: dt.datetime | None = None, **flags: Any) -> LocalChange:
    body = {"Id": who, "SignedTos": signed, **flags}
    values: dict[str, Any] = {
        "salesforce_id": who,
        "name": f"{who}.example",
        "account_manager": "Ada",
        "sales_engineer_id": "7",
        "signed_tos": signed,
        "flags": orjson.dumps(body).decode(),
    }
    event = f"1:{sequence}"
    moment = at or NOON + dt.timedelta(seconds=(sequence or 0) % 100_000)
    return LocalChange(f"0:{sequence}-{who}", Op.UPSERT, None, values, sequence, moment, event)


def changed(change: LocalChange, **values: Any) -> LocalChange:
    return LocalChange(change.token, change.op, None, {**change.values, **values}, change.sequence, change.at, change.event)


def write(*changes: LocalChange) -> list[Written]:
    with transaction.atomic():
        return list(CUSTOMERS.write(changes, OWNER))


def statuses(*changes: LocalChange) -> list[Status]:
    return [one.status for one in write(*changes)]


def refusal(change: LocalChange) -> tuple[Code, str | None]:
    [written] = write(change)
    assert written.status is Status.REJECTED
    assert written.error
    assert written.error.message.endswith(".")
    return written.error.code, written.error.property


def active(who: str = "a") -> set[str]:
    held = License.objects.filter(customer__salesforce_id=who, active=True)
    return set(held.values_list("sku__code", flat=True))


def history(who: str = "a") -> list[tuple[str | None, bool]]:
    rows = LicenseChange.objects.filter(customer__salesforce_id=who).order_by("id")
    return list(rows.values_list("sku__code", "active"))


def test_the_first_message_makes_the_customer_with_licences_and_their_history(skus: list[Sku]) -> None:
    [written] = write(told(5, SKU1=True, SKU2=False, SKU3=True))

    customer = Customer.objects.get()
    assert (written.status, written.local_key) == (Status.CREATED, str(customer.pk))
    assert (customer.name, customer.account_manager, customer.sales_engineer_id) == ("a.example", "Ada", "7")
    assert (customer.signed_tos, customer.sequence, customer.last_event) == (True, 5, "1:5")
    assert customer.first_seen == customer.last_seen == customer.terms_since == NOON + dt.timedelta(seconds=5)
    assert active() == {"SKU1", "SKU3"}
    assert history() == [(None, True), ("SKU1", True), ("SKU3", True)]
    held = License.objects.get(sku__code="SKU1")
    assert (held.since, held.until, held.last_event) == (customer.last_seen, None, "1:5")


def test_only_a_higher_sequence_is_applied_whatever_the_order_of_arrival(skus: list[Sku]) -> None:
    assert statuses(told(5, SKU1=True)) == [Status.CREATED]
    assert statuses(told(4, SKU1=False), told(5, SKU1=False)) == [Status.UNCHANGED] * 2
    assert active() == {"SKU1"}
    assert statuses(told(7, SKU1=False), told(6, SKU1=True)) == [Status.UPDATED, Status.UNCHANGED]
    assert active() == set()
    assert Customer.objects.get().sequence == 7


def test_a_message_that_changes_nothing_still_keeps_older_ones_out(skus: list[Sku]) -> None:
    write(told(1, SKU1=True))
    assert statuses(told(9, SKU1=True)) == [Status.UNCHANGED]
    assert statuses(told(5, SKU1=False)) == [Status.UNCHANGED]
    assert active() == {"SKU1"}
    assert len(history()) == 2


def test_on_off_on_within_one_batch_leaves_three_rows_of_history(skus: list[Sku]) -> None:
    write(told(1, SKU1=True), told(2, SKU1=False), told(3, SKU1=True))

    assert history() == [(None, True), ("SKU1", True), ("SKU1", False), ("SKU1", True)]
    held = License.objects.get()
    assert (held.active, held.since, held.until, held.last_event) == (True, NOON + dt.timedelta(seconds=3), None, "1:3")


def test_the_end_of_a_licence_and_of_the_terms_is_kept_with_its_moment(skus: list[Sku]) -> None:
    write(told(1, SKU1=True))
    write(told(60, signed=False, SKU1=False))
    held, customer = License.objects.get(), Customer.objects.get()
    assert (held.active, held.since, held.until) == (False, NOON + dt.timedelta(seconds=1), NOON + dt.timedelta(minutes=1))
    assert (customer.signed_tos, customer.terms_since) == (False, None)
    assert history()[2:] == [(None, False), ("SKU1", False)]


def test_when_a_customer_was_first_seen_and_signed_the_terms_stays(skus: list[Sku]) -> None:
    write(told(1, SKU1=True))
    write(told(50, SKU1=False))
    customer, first = Customer.objects.get(), NOON + dt.timedelta(seconds=1)
    assert (customer.first_seen, customer.terms_since) == (first, first)
    assert customer.last_seen == NOON + dt.timedelta(seconds=50)
    write(told(51, signed=False), told(52))
    assert Customer.objects.get().terms_since == NOON + dt.timedelta(seconds=52)
    assert Customer.objects.get().first_seen == first


def test_what_a_message_does_not_tell_stays(skus: list[Sku]) -> None:
    write(told(1, SKU1=True, SKU2=True))
    change = told(2, SKU2=False)
    values = {"salesforce_id": "a", "flags": change.values["flags"], "signed_tos": None}
    write(LocalChange("t", Op.UPSERT, None, values, 2, change.at, "e"))
    assert active() == {"SKU1"}
    customer = Customer.objects.get()
    assert (customer.name, customer.signed_tos) == ("a.example", True)
    write(LocalChange("t", Op.UPSERT, None, {"salesforce_id": "a", "name": None}, None, None, ""))
    assert Customer.objects.get().name == ""
    assert Customer.objects.get().sequence == 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"salesforce_id": None}, (Code.REQUIRED, "salesforce_id")),
        ({"salesforce_id": ""}, (Code.REQUIRED, "salesforce_id")),
        ({"salesforce_id": " \t"}, (Code.REQUIRED, "salesforce_id")),
        ({"salesforce_id": 7}, (Code.INVALID_VALUE, "salesforce_id")),
        ({"salesforce_id": "x" * 201}, (Code.TOO_LONG, "salesforce_id")),
        ({"salesforce_id": "a\0"}, (Code.INVALID_VALUE, "salesforce_id")),
        ({"name": "x" * 201}, (Code.TOO_LONG, "name")),
        ({"name": "\ud800"}, (Code.INVALID_VALUE, "name")),
        ({"account_manager": True}, (Code.INVALID_VALUE, "account_manager")),
        ({"signed_tos": "true"}, (Code.INVALID_VALUE, "signed_tos")),
        ({"signed_tos": 1}, (Code.INVALID_VALUE, "signed_tos")),
        ({"flags": "[]"}, (Code.INVALID_VALUE, "flags")),
        ({"flags": "{"}, (Code.INVALID_VALUE, "flags")),
        ({"flags": True}, (Code.INVALID_VALUE, "flags")),
        ({"flags": '{"SKU1":null}'}, (Code.INVALID_VALUE, "flags")),
        ({"flags": '{"SKU77":"yes"}'}, (Code.INVALID_VALUE, "flags")),
        ({"flags": orjson.dumps({f"f{n}": True for n in range(501)}).decode()}, (Code.TOO_LONG, "flags")),
        ({"last_seen": "2026"}, (Code.READ_ONLY, "last_seen")),
        ({"nothing": "2026"}, (Code.UNKNOWN_PROPERTY, "nothing")),
    ],
)
def test_what_cannot_be_stored_is_refused_alone_and_with_a_reason(
    skus: list[Sku], values: dict[str, Any], expected: tuple[Code, str]
) -> None:
    assert refusal(changed(told(1, SKU1=True), **values)) == expected
    assert not Customer.objects.exists()
    assert statuses(told(1, "b"), changed(told(2, SKU1=True), **values), told(3, "b", SKU1=True)) == [
        Status.CREATED,
        Status.REJECTED,
        Status.UPDATED,
    ]


def test_other_operations_and_absurd_sequences_are_refused(skus: list[Sku]) -> None:
    assert refusal(LocalChange("t", Op.CREATE, None, {"salesforce_id": "a"}))[0] is Code.OTHER
    assert refusal(told(2**63))[0] is Code.INVALID_VALUE
    with pytest.raises(ValueError, match="same token"):
        write(told(1), told(1))


def test_flags_over_many_messages_are_bounded(skus: list[Sku]) -> None:
    def many(letter: str) -> dict[str, Any]:
        return {f"{letter}{n}": True for n in range(400)}

    write(told(1, **many("f")))
    assert refusal(told(2, SKU1=True, **many("g")))[0] is Code.TOO_LONG
    assert statuses(told(3, SKU1=True)) == [Status.UPDATED]


def test_a_clock_that_is_wrong_leads_to_no_impossible_moments(skus: list[Sku]) -> None:
    year = dt.timedelta(days=365)
    now = dt.datetime.now(dt.UTC)
    write(told(1, at=now + 50 * year, SKU1=True))
    began = License.objects.get().since
    assert abs(began - now) < dt.timedelta(minutes=1)
    write(told(2, at=dt.datetime(1970, 1, 1, tzinfo=dt.UTC), SKU1=False))
    held = License.objects.get()
    assert held.until is not None
    assert began <= held.until <= dt.datetime.now(dt.UTC)
    write(told(3, at=now - 10 * year, SKU1=True))
    assert held.until <= License.objects.get().since
    write(LocalChange("t", Op.UPSERT, None, {"salesforce_id": "b", "flags": '{"SKU1":true}'}))
    assert License.objects.get(customer__salesforce_id="b").since >= began


class TestUnknownProducts:
    def test_the_other_flags_are_applied_and_the_unknown_one_is_noted(self, skus: list[Sku]) -> None:
        write(told(1, SKU1=True, SKU4=True), told(2, "b", SKU4=False, Other=True))
        write(told(3, SKU1=True, SKU4=True))
        assert active() == {"SKU1"}
        assert list(UnknownSku.objects.values_list("code", "count")) == [("SKU4", 2)]

    def test_a_row_is_all_it_takes_and_what_was_told_before_holds_at_once(self, skus: list[Sku]) -> None:
        write(told(1, SKU4=True), told(2, "b", SKU4=False), told(3, "c", SKU4=True, Premium=True))
        [added] = add_products(["SKU4"])

        assert (active(), active("b"), active("c")) == ({"SKU4"}, set(), {"SKU4"})
        assert history() == [(None, True), ("SKU4", True)]
        assert (*history("b")[0], added.code) == (None, True, "SKU4")
        assert len(history("b")) == 1
        assert License.objects.get(customer__salesforce_id="a").since == NOON + dt.timedelta(seconds=1)
        assert not UnknownSku.objects.exists()
        Sku.objects.create(code="Premium")
        assert active("c") == {"SKU4", "Premium"}
        write(told(4, SKU4=False))
        assert active() == set()

    def test_a_product_that_is_switched_off_keeps_its_licences_as_they_were_until_it_is_on_again(self, skus: list[Sku]) -> None:
        write(told(1, SKU1=True), told(2, "b", SKU1=True))
        skus[0].active = False
        skus[0].save()
        write(told(3, SKU1=False))
        assert active() == {"SKU1"}
        assert not UnknownSku.objects.exists()
        skus[0].active = True
        skus[0].save()
        assert (active(), active("b")) == (set(), {"SKU1"})
        assert history()[-1] == ("SKU1", False)
        held = License.objects.get(customer__salesforce_id="a")
        assert held.until is not None
        assert held.since < held.until


def test_a_batch_of_a_thousand_takes_the_statements_of_a_batch_of_one(skus: list[Sku]) -> None:
    def batch(size: int, first: int) -> int:
        many = [told(first + n, f"c{n % 100}", SKU1=bool(n % 3), SKU9=bool(n % 2)) for n in range(size)]
        with CaptureQueriesContext(connection) as queries:
            CUSTOMERS.write(many, OWNER)
        return len(queries)

    few = batch(3, 0)
    assert batch(2000, 10) == few <= 10
    assert Customer.objects.count() == 100


def test_rows_tell_what_other_systems_may_want_to_know(skus: list[Sku]) -> None:
    write(told(1, SKU2=True, SKU1=True), told(2, "b", signed=False, SKU3=True))
    names = [field.name for field in CUSTOMERS.info.fields]
    rows = {row["salesforce_id"]: row for row in CUSTOMERS.rows(names).values("id", *names)}
    assert (rows["a"]["skus"], rows["a"]["entitled"]) == (["SKU1", "SKU2"], ["SKU1", "SKU2"])
    assert (rows["b"]["skus"], rows["b"]["entitled"]) == (["SKU3"], [])
    keys = [str(row["id"]) for row in rows.values()]
    assert set(CUSTOMERS.title([*keys, "x"]).values()) == {"a.example", "b.example"}


def test_what_it_depends_on_is_there_in_the_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_name LIKE 'licensing%'")
        there = set(cursor.fetchall())
    for one in CUSTOMERS.depends_on:
        hops = {(hop.table, name) for hop in one.through for name in (hop.column, hop.take)}
        assert {(one.table, name) for name in (one.column, *one.columns)} | hops <= there
        assert all(CUSTOMERS.info.field(name) for name in one.fields)


@pytest.mark.django_db(transaction=True)
def test_batches_of_several_partitions_write_the_same_customers_without_a_deadlock(django_user_model: type[User]) -> None:
    for number in (1, 2, 3):
        Sku.objects.create(code=f"SKU{number}")
    together(*(lambda part=part: in_turns(part) for part in range(4)))

    assert Customer.objects.count() == 60
    for customer in Customer.objects.all():
        assert customer.sequence == 2419 - (59 - int(customer.salesforce_id))
        assert active(customer.salesforce_id) == ({"SKU1"} if customer.sequence % 2 else set())
        flags = LicenseChange.objects.filter(customer=customer, sku__code="SKU1").order_by("id").values_list("active", flat=True)
        assert [*flags] == [n % 2 == 0 for n in range(len(flags))]


def in_turns(part: int) -> None:
    """Each part has all customers in an order of its own, with sequences that all parts share."""
    for turn in range(10):
        first = (turn * 4 + part) * 60
        changes = [told(20 + first + n, str(n), SKU1=bool((20 + first + n) % 2)) for n in range(60)]
        write(*sorted(changes, key=lambda one: hash((part, one.token))))


@pytest.mark.django_db(transaction=True)
def test_a_product_that_is_added_while_a_batch_is_written_misses_no_customer() -> None:
    written, added = threading.Event(), threading.Event()

    def batch() -> None:
        with transaction.atomic():
            CUSTOMERS.write([told(1, SKU4=True)], OWNER)
            written.set()
            assert not added.wait(0.5)

    def add() -> None:
        written.wait(10)
        Sku.objects.create(code="SKU4")
        added.set()

    together(batch, add)
    assert active() == {"SKU4"}


def together(*works: Callable[[], None]) -> None:
    problems: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told by the test's own thread
            problems.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert problems == []
