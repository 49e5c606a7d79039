"""People change the account, and it answers with less than it has: nobody's record is taken for ours, none is doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from syncline.catalog import service as catalog
from syncline_companies.models import Company, Employee
from syncline_host.demo.scenario import connect_by_token, make_sync, run_to_end
from syncline_hubspot.sandbox.process import RunningSandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False) as running, override_settings(SYNCLINE_ALLOW_LOOPBACK=True, SYNCLINE_PUSH_THREADS=2):
        running.admin.config(index_lag_s=0, self_touch_s=0)
        yield running


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("ann", "ann@example.org", "x")


@pytest.mark.parametrize("fate", ["another address", "deleted"])
def test_an_address_that_its_holder_gave_up_belongs_to_nobody(sandbox: RunningSandbox, user: User, fate: str) -> None:
    (stranger, *_) = sandbox.admin.seed(
        "contacts", [{"email": "old@x.com", "lastname": "Stranger"}, *({"email": f"f{n}@x.com"} for n in range(150))]
    )
    connection = connect_by_token(user, sandbox)
    catalog.refresh(connection)
    sync = make_sync(connection, user, "companies.person", "contacts")
    company = Company.objects.create(name="Co", website="co.com")
    Employee.objects.bulk_create(Employee(company=company, name=f"P {n}", email=f"p{n}@y.com") for n in range(300))
    run_to_end(sync, user)  # so many that the account is listed whole
    if fate == "deleted":
        sandbox.admin.delete("contacts", stranger)
    else:
        sandbox.admin.patch("contacts", stranger, {"email": "new@x.com"})
    Employee.objects.create(company=company, name="Olga Old", email="old@x.com")
    run = run_to_end(sync, user)  # a single one is asked for by its address
    assert (run.created, run.adopted, run.unchanged) == (1, 0, 300)
    (held,) = sandbox.admin.dump("contacts", ids=stranger)
    assert held["properties"]["lastname"] == "Stranger"


def test_an_empty_page_of_a_listing_is_not_believed_at_once(sandbox: RunningSandbox, user: User) -> None:
    sandbox.admin.seed("companies", [{"name": f"C{n}", "domain": f"c{n}.com"} for n in range(10)])
    connection = connect_by_token(user, sandbox)
    catalog.refresh(connection)
    sync = make_sync(connection, user, "companies.company", "companies")
    Company.objects.bulk_create(Company(name=f"Ours {n}", website=f"c{n}.com") for n in range(10))
    sandbox.admin.fault("empty_results", endpoint="list")
    assert run_to_end(sync, user).adopted == 10
    assert len(sandbox.admin.live("companies")) == 10
