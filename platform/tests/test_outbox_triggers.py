"""What changes in the register reaches the outbox, however it changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test import override_settings
from syncline import registry
from syncline.connections.models import Connection
from syncline.contract import Dependency, Hop
from syncline.outbox import checks as outbox_checks
from syncline.outbox import watch
from syncline.outbox.models import OutboxKey
from syncline.syncs.models import MappingVersion, Sync
from syncline_companies.models import Company, Country, Deal, Employee

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True)


def rules(*sources: str) -> list[dict[str, Any]]:
    one = {"expression": "", "association": False, "transforms": [], "write_mode": "overwrite", "null_policy": "clear"}
    return [{"target": source, "source": source, **one} for source in sources]


EVERYTHING = {
    "companies.company": ("name", "country", "creator_email", "total_raised", "employee_count"),
    "companies.person": ("name", "email", "companies"),
    "companies.deal": ("name", "amount_raised"),
}


class Register:
    """Some companies, and syncs that watch them."""

    def __init__(self) -> None:
        self.owner = User.objects.create(username="owner", email="owner@example.org", is_superuser=True)
        self.connection = Connection.objects.create(connector="hubspot", name="Account", owner=self.owner)
        self.country = Country.objects.create(iso_code="GB", name="United Kingdom")
        names = ("Acme", "Bolt", "Cask")
        self.acme, self.bolt, self.cask = (
            Company.objects.create(name=name, country=self.country, creator=self.owner) for name in names
        )

    def watch(self, dataset: str = "companies.company", segment: str = "", sources: tuple[str, ...] = (), **options: Any) -> Sync:
        """A sync that watches from now on; what its beginning wrote to the outbox is forgotten."""
        sync = Sync.objects.create(
            name=dataset, connection=self.connection, dataset=dataset, object_type="x", changes_cron="*/5 * * * *", **options
        )
        content = {
            "rules": rules(*(sources or EVERYTHING[dataset])),
            "match": [],
            "filter": "",
            "segment": segment,
            "mode": "upsert",
        }
        version = MappingVersion.objects.create(sync=sync, number=1, content=content, digest="0")
        Sync.objects.filter(pk=sync.pk).update(current=version)
        check_constraints()
        assert watch.reconcile()
        assert "" in waiting(sync)
        OutboxKey.objects.all().delete()
        sync.refresh_from_db()
        return sync


def check_constraints() -> None:
    """Triggers cannot be dropped while deferred checks of the same transaction are open, which a test is."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest.fixture
def register() -> Iterator[Register]:
    yield Register()
    check_constraints()
    Sync.objects.update(enabled=False)
    assert watch.reconcile()
    assert watch.installed() == {}


def waiting(sync: Sync) -> set[str]:
    return set(OutboxKey.objects.filter(sync=sync).values_list("local_key", flat=True))


def taken(sync: Sync) -> set[str]:
    """What waits, and then no longer."""
    keys = waiting(sync)
    OutboxKey.objects.filter(sync=sync).delete()
    return keys


def keys(*rows: Any) -> set[str]:
    return {str(row.pk) for row in rows}


def triggers_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND NOT tgisinternal", [table])
        return int(cursor.fetchone()[0])


def test_insert_update_and_delete_of_the_row_itself(register: Register) -> None:
    sync = register.watch()
    dune = Company.objects.create(name="Dune")
    assert taken(sync) == keys(dune)
    dune.name = "Dunes"
    dune.save()
    assert taken(sync) == keys(dune)
    key = keys(dune)
    dune.delete()
    assert taken(sync) == key


def test_a_queryset_update_names_every_row_once(register: Register) -> None:
    sync = register.watch()
    Company.objects.filter(name__in=["Acme", "Bolt"]).update(description="new")
    assert waiting(sync) == keys(register.acme, register.bolt)
    assert OutboxKey.objects.count() == 2


def test_raw_sql_and_bulk_create(register: Register) -> None:
    sync = register.watch()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE companies_company SET name = name || '!' WHERE id = %s", [register.cask.pk])
    assert taken(sync) == keys(register.cask)
    made = Company.objects.bulk_create([Company(name=f"C{n}") for n in range(3)])
    assert taken(sync) == keys(*made)


def test_copy(register: Register) -> None:
    sync = register.watch()
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY companies_deal (company_id, amount_raised, created, modified) FROM STDIN") as copy,
    ):
        for company in (register.acme, register.bolt, register.bolt):
            copy.write_row((company.pk, 10, "2026-01-01", "2026-01-01"))
    assert waiting(sync) == keys(register.acme, register.bolt)


def test_a_deleted_deal_concerns_its_company(register: Register) -> None:
    deal = Deal.objects.create(company=register.bolt, amount_raised=5)
    sync = register.watch()
    deal.delete()
    assert waiting(sync) == keys(register.bolt)


def test_a_deal_that_moves_concerns_both_companies(register: Register) -> None:
    deal = Deal.objects.create(company=register.bolt, amount_raised=5)
    sync = register.watch()
    Deal.objects.filter(pk=deal.pk).update(company=register.cask)
    assert waiting(sync) == keys(register.bolt, register.cask)


def test_a_country_and_a_creator_are_followed_to_their_companies(register: Register) -> None:
    sync = register.watch()
    Country.objects.filter(pk=register.country.pk).update(name="Great Britain")
    assert taken(sync) == keys(register.acme, register.bolt, register.cask)
    Company.objects.filter(pk=register.acme.pk).update(creator=User.objects.create(username="other"))
    taken(sync)
    register.owner.email = "new@example.org"
    register.owner.save()
    assert taken(sync) == keys(register.bolt, register.cask)


def test_a_log_in_is_no_change(register: Register) -> None:
    sync = register.watch()
    User.objects.update(last_login="2026-01-01T00:00Z", first_name="Owen")
    assert waiting(sync) == set()


def test_a_newly_monitored_company(register: Register) -> None:
    Deal.objects.create(company=register.acme, amount_raised=5)
    companies, deals = register.watch(segment="monitored"), register.watch("companies.deal", segment="monitored")
    everything = register.watch()
    register.acme.monitors.add(register.owner)
    assert (taken(companies), taken(deals)) == (keys(register.acme), keys(*register.acme.deals.all()))
    register.acme.monitors.clear()
    assert (taken(companies), taken(deals)) == (keys(register.acme), keys(*register.acme.deals.all()))
    assert waiting(everything) == set(), "who is monitored does not matter to a sync of all companies"


def test_truncate_makes_a_full_pass_due(register: Register) -> None:
    sync = register.watch()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE companies_deal")
    assert waiting(sync) == {""}


class TestPeople:
    def test_the_key_moves_when_the_first_job_is_deleted(self, register: Register) -> None:
        first = Employee.objects.create(company=register.acme, name="Ann", email="ann@example.org")
        second = Employee.objects.create(company=register.bolt, name="Ann", email="Ann@example.org ")
        sync = register.watch("companies.person")
        old = keys(first)
        first.delete()
        assert waiting(sync) == old | keys(second)

    def test_a_changed_address_joins_and_leaves_people(self, register: Register) -> None:
        ann = Employee.objects.create(company=register.acme, name="Ann", email="ann@example.org")
        also = Employee.objects.create(company=register.bolt, name="Ann", email="ann@example.org")
        ben = Employee.objects.create(company=register.bolt, name="Ben", email="ben@example.org")
        nobody = Employee.objects.create(company=register.bolt, name="No address")
        sync = register.watch("companies.person")
        Employee.objects.filter(pk=also.pk).update(email="BEN@example.org")
        assert taken(sync) == keys(ann, also, ben)
        Employee.objects.filter(pk=nobody.pk).update(name="Nobody")
        assert taken(sync) == keys(nobody)

    def test_people_of_a_newly_monitored_company(self, register: Register) -> None:
        first = Employee.objects.create(company=register.acme, name="Ann", email="ann@example.org")
        there = Employee.objects.create(company=register.bolt, name="Ann", email="ann@example.org")
        nobody = Employee.objects.create(company=register.bolt, name="No address")
        sync = register.watch("companies.person", segment="monitored")
        register.bolt.monitors.add(register.owner)
        assert waiting(sync) == keys(first, there, nobody)


def test_deals_follow_the_name_of_their_company_and_nothing_else_of_it(register: Register) -> None:
    deal = Deal.objects.create(company=register.bolt, amount_raised=5)
    sync = register.watch("companies.deal")
    Company.objects.update(description="other")
    assert waiting(sync) == set()
    Company.objects.filter(pk=register.bolt.pk).update(name="Bolts")
    assert waiting(sync) == keys(deal)


def test_two_companies_that_swap_their_names_are_two_changes(register: Register) -> None:
    deals = [Deal.objects.create(company=company, amount_raised=5) for company in (register.acme, register.bolt)]
    sync = register.watch("companies.deal")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE companies_company SET name = CASE name WHEN 'Acme' THEN 'Bolt' ELSE 'Acme' END WHERE name IN ('Acme', 'Bolt')"
        )
    assert waiting(sync) == keys(*deals)


def test_a_swap_within_one_parent_is_a_change_of_it(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    named = Dependency("companies_employee", "company_id", columns=("name",))
    monkeypatch.setattr(type(registry.dataset("companies.company")), "depends_on", (named,))
    for name in ("Ann", "Ben"):
        Employee.objects.create(company=register.acme, name=name)
    sync = register.watch()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE companies_employee SET name = CASE name WHEN 'Ann' THEN 'Ben' ELSE 'Ann' END")
    assert taken(sync) == keys(register.acme)
    Employee.objects.update(job_title="other")
    assert waiting(sync) == set()


class TestSubscription:
    def test_nothing_is_installed_while_nobody_watches(self, register: Register) -> None:
        assert watch.reconcile()
        assert watch.installed() == {}
        assert triggers_of("companies_company") == 0

    def test_only_tables_that_matter_are_watched(self, register: Register) -> None:
        register.watch(sources=("name",))
        assert triggers_of("companies_company") == 4
        assert triggers_of("companies_deal") == triggers_of("auth_user") == 0

    def test_two_syncs_both_get_the_key_and_a_disabled_one_no_more(self, register: Register) -> None:
        one, two = register.watch(), register.watch()
        Company.objects.filter(pk=register.acme.pk).update(name="A")
        assert waiting(one) == waiting(two) == keys(register.acme)
        Sync.objects.filter(pk=one.pk).update(enabled=False)
        assert watch.reconcile()
        assert waiting(one) == set(), "nobody would ever take them"
        Company.objects.filter(pk=register.bolt.pk).update(name="B")
        assert (waiting(one), waiting(two)) == (set(), keys(register.acme, register.bolt))
        Sync.objects.filter(pk=two.pk).update(changes_cron="")
        assert watch.reconcile()
        assert triggers_of("companies_company") == 0

    def test_reconciling_again_changes_nothing(self, register: Register) -> None:
        sync = register.watch()
        before = watch.installed()
        assert watch.reconcile()
        assert watch.installed() == before
        assert waiting(sync) == set(), "no full pass is due again"

    def test_who_reads_more_is_due_a_full_pass_and_the_others_are_not(self, register: Register) -> None:
        one, two = register.watch(sources=("name",)), register.watch(sources=("name",))
        assert one.current is not None
        content = {**one.current.content, "rules": rules("name", "total_raised")}
        version = MappingVersion.objects.create(sync=one, number=2, content=content, digest="1")
        Sync.objects.filter(pk=one.pk).update(current=version)
        assert watch.reconcile()
        assert (waiting(one), waiting(two)) == ({""}, set())

    def test_the_origin_of_a_write_is_not_told(self, register: Register) -> None:
        one, two = register.watch(), register.watch()
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('syncline.origin', %s, true)", [str(one.pk)])
            Company.objects.filter(pk=register.acme.pk).update(name="A")
            cursor.execute("SELECT set_config('syncline.origin', '', true)")
        Company.objects.filter(pk=register.bolt.pk).update(name="B")
        assert (waiting(one), waiting(two)) == (keys(register.bolt), keys(register.acme, register.bolt))

    @committed
    @override_settings(SYNCLINE_WATCH_LOCK_MS=100)
    def test_keys_stay_while_the_triggers_of_who_left_could_not_be_removed(self, register: Register, database_url: str) -> None:
        """Who comes back in this moment finds its triggers as they were, and is due no full pass."""
        sync = register.watch(sources=("name",))
        Company.objects.filter(pk=register.acme.pk).update(name="A")
        Sync.objects.filter(pk=sync.pk).update(enabled=False)
        with psycopg.connect(database_url) as busy:
            busy.execute("UPDATE companies_company SET name = 'x' WHERE id = %s", [register.bolt.pk])
            assert not watch.reconcile()
            busy.rollback()
        assert waiting(sync) == keys(register.acme)
        Sync.objects.filter(pk=sync.pk).update(enabled=True)
        assert watch.reconcile()
        assert waiting(sync) == keys(register.acme)

    def test_keys_go_with_a_deleted_sync_and_writes_go_on(self, register: Register) -> None:
        sync = register.watch()
        Sync.objects.filter(pk=sync.pk).update(current=None)
        MappingVersion.objects.all().delete()
        sync.delete()
        Company.objects.filter(pk=register.acme.pk).update(name="A")
        assert OutboxKey.objects.count() == 1, "the trigger is still there"
        assert watch.reconcile()
        assert OutboxKey.objects.count() == 0


@committed
class TestConcurrency:
    def test_a_row_committed_late_is_taken_later(self, register: Register, database_url: str) -> None:
        sync = register.watch()
        with psycopg.connect(database_url) as late:
            late.execute("UPDATE companies_company SET name = 'late' WHERE id = %s", [register.acme.pk])
            Company.objects.filter(pk=register.bolt.pk).update(name="early")
            assert taken(sync) == keys(register.bolt)
            late.commit()
        assert taken(sync) == keys(register.acme)

    def test_a_transaction_that_began_before_the_subscription_tells_of_its_later_writes(
        self, register: Register, database_url: str
    ) -> None:
        with psycopg.connect(database_url) as old:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            old.execute("SELECT count(*) FROM syncline_sync")
            sync = register.watch()
            old.execute("UPDATE companies_company SET name = 'old' WHERE id = %s", [register.acme.pk])
            old.commit()
        assert waiting(sync) == keys(register.acme)

    @override_settings(SYNCLINE_WATCH_LOCK_MS=100)
    def test_a_busy_table_is_left_for_the_next_tick(self, register: Register, database_url: str) -> None:
        sync = register.watch(sources=("name",))
        Sync.objects.filter(pk=sync.pk).update(enabled=False)
        with psycopg.connect(database_url) as busy:
            busy.execute("UPDATE companies_company SET name = 'x' WHERE id = %s", [register.acme.pk])
            assert not watch.reconcile()
            assert triggers_of("companies_company") == 4
            busy.commit()
        assert watch.reconcile()
        assert triggers_of("companies_company") == 0

    def test_writers_and_subscriptions_do_not_deadlock(self, register: Register) -> None:
        register.watch()
        stop, errors = threading.Event(), []

        def write(first: Company, second: Company) -> None:
            try:
                while not stop.is_set():
                    with transaction.atomic():
                        for company in (first, second):
                            Deal.objects.create(company=company, amount_raised=1)
                            Company.objects.filter(pk=company.pk).update(description="w")
            except Exception as error:  # noqa: BLE001 - shown below
                errors.append(error)
            finally:
                connections.close_all()

        # each locks its two companies in the same order, as any app has to
        writers = [threading.Thread(target=write, args=(register.acme, register.bolt)) for _ in range(3)]
        for writer in writers:
            writer.start()
        for number in range(10):
            Sync.objects.update(enabled=bool(number % 2))
            watch.reconcile()
        stop.set()
        for writer in writers:
            writer.join()
        assert errors == []


@committed
class TestBrokenApps:
    """The app's write never fails because of us; what cannot be seen is said."""

    def test_a_column_that_is_dropped_makes_a_full_pass_due(self, register: Register) -> None:
        sync = register.watch("companies.deal")
        Deal.objects.create(company=register.acme, amount_raised=1)
        taken(sync)
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE companies_company RENAME COLUMN name TO title")
            try:
                cursor.execute("UPDATE companies_company SET title = 'x' WHERE id = %s", [register.acme.pk])
                assert taken(sync) == {""}
                watch.reconcile()
                sync.refresh_from_db()
                assert "no column name" in (sync.blocked_reason or "")
                cursor.execute("UPDATE companies_company SET title = 'y' WHERE id = %s", [register.acme.pk])
                cursor.execute("UPDATE companies_deal SET amount_raised = 2")
                assert waiting(sync) == {str(pk) for pk in Deal.objects.values_list("pk", flat=True)}
            finally:
                cursor.execute("ALTER TABLE companies_company RENAME COLUMN title TO name")

    def test_a_table_on_the_way_that_is_gone(self, register: Register) -> None:
        sync = register.watch("companies.deal")
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE companies_deal RENAME TO moved_deal")
            try:
                cursor.execute("UPDATE companies_company SET name = 'x' WHERE id = %s", [register.acme.pk])
                assert waiting(sync) == {""}
            finally:
                cursor.execute("ALTER TABLE moved_deal RENAME TO companies_deal")

    def test_without_an_outbox_the_app_goes_on(self, register: Register) -> None:
        register.watch()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE syncline_outboxkey RENAME TO elsewhere")
            try:
                Company.objects.filter(pk=register.acme.pk).update(name="A")
            finally:
                cursor.execute("ALTER TABLE elsewhere RENAME TO syncline_outboxkey")
        register.acme.refresh_from_db()
        assert register.acme.name == "A"

    def test_a_role_without_rights_to_the_outbox_writes_and_is_seen(self, register: Register) -> None:
        sync = register.watch()
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("CREATE ROLE syncline_stranger")
            cursor.execute("GRANT SELECT, UPDATE ON companies_company TO syncline_stranger")
            cursor.execute("SET LOCAL ROLE syncline_stranger")
            cursor.execute("UPDATE companies_company SET name = 'x' WHERE id = %s", [register.acme.pk])
            cursor.execute("RESET ROLE")
            assert waiting(sync) == keys(register.acme)
            transaction.set_rollback(True)


def test_every_dependency_of_every_app_exists(db: None) -> None:
    tables = watch._tables({name for _, d in watch.declared() for name in (d.table, *(h.table for h in d.through))})
    columns = {name: table.columns for name, table in tables.items()}
    assert {key for key, _ in watch.declared()} == {key for key, one in registry.datasets().items() if not one.info.log}
    assert [reason for _, d in watch.declared() if (reason := watch.missing(d, columns))] == []
    assert watch.missing(Dependency("companies_deal", "firm_id"), columns) == "The table companies_deal has no column firm_id."


def test_the_system_check_names_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outbox_checks.dependencies() == []
    wrong = Dependency("companies_deal", through=(Hop("companies_company", "firm_id", "id"),))
    monkeypatch.setattr(watch, "declared", lambda: [("companies.deal", wrong)])
    (message,) = outbox_checks.dependencies()
    assert message.id == "syncline.E020"
    assert "companies_company has no column firm_id" in message.msg


def test_a_migration_sets_the_triggers_right(register: Register) -> None:
    register.watch()
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER syncline_watch_update ON companies_company")
    call_command("migrate", verbosity=0)
    assert triggers_of("companies_company") == 4
