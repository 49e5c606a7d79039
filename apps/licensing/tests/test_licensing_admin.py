"""The admin: people look at customers and licences, and keep products."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from syncline.contract import LocalChange, Op, Value
from syncline_licensing.datasets import CustomerDataset
from syncline_licensing.models import Customer, License, LicenseChange, Sku, UnknownSku

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def acme() -> Customer:
    Sku.objects.create(code="SKU1", name="Reports")
    for number in range(60):
        flags = json.dumps({"SKU1": number % 2 == 0, "SKU7": True})
        values: dict[str, Value] = {"salesforce_id": "a-1", "name": "Acme", "signed_tos": True, "flags": flags}
        change = LocalChange(str(number), Op.UPSERT, None, values, number, NOON + dt.timedelta(minutes=number), f"1:{number}")
        CustomerDataset().write([change], None)  # type: ignore[arg-type]
    return Customer.objects.get()


def page(client: Client, name: str, *args: object, query: str = "") -> str:
    answer = client.get(reverse(f"admin:licensing_{name}", args=args) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_customer_is_found_and_shown_with_licences_and_the_latest_changes(root: Client, acme: Customer) -> None:
    assert "a-1" in page(root, "customer_changelist", query="?q=acme")
    assert "a-1" not in page(root, "customer_changelist", query="?sku=SKU1")
    shown = page(root, "customer_change", acme.pk)
    assert "1:59" in shown
    assert "1:5<" not in shown
    assert shown.count('class="field-event"') == 50
    assert 'name="_save"' not in shown
    every = page(root, "licensechange_changelist", query=f"?customer__id__exact={acme.pk}&all=")
    assert "61 changes of licences" in every


def test_nobody_changes_customers_licences_or_their_history(root: Client, acme: Customer) -> None:
    for model, one in (("customer", acme), ("license", License.objects.get()), ("licensechange", LicenseChange.objects.first())):
        assert one
        assert root.get(reverse(f"admin:licensing_{model}_add")).status_code == 403
        assert root.post(reverse(f"admin:licensing_{model}_delete", args=[one.pk]), {"post": "yes"}).status_code == 403
        assert root.post(reverse(f"admin:licensing_{model}_change", args=[one.pk]), {}).status_code == 403
        assert page(root, f"{model}_changelist")


def test_an_unknown_product_is_listed_and_added_with_what_was_told_of_it(root: Client, acme: Customer) -> None:
    unknown = UnknownSku.objects.get()
    assert "SKU7" in page(root, "unknownsku_changelist")
    told = root.post(
        reverse("admin:licensing_unknownsku_changelist"), {"action": "add", "_selected_action": [unknown.pk]}, follow=True
    )
    assert "SKU7 added" in told.content.decode()
    assert License.objects.get(sku__code="SKU7").active
    assert not UnknownSku.objects.exists()
    assert "SKU7" in page(root, "sku_changelist")


def test_a_product_s_code_is_checked_and_never_changed(root: Client, acme: Customer) -> None:
    assert root.post(reverse("admin:licensing_sku_add"), {"code": "4 x", "active": "on"}).status_code == 200
    assert root.post(reverse("admin:licensing_sku_add"), {"code": "SKU4", "active": "on"}).status_code == 302
    one = Sku.objects.get(code="SKU1")
    root.post(reverse("admin:licensing_sku_change", args=[one.pk]), {"code": "SKU9", "name": "Renamed", "active": "on"})
    one.refresh_from_db()
    assert (one.code, one.name) == ("SKU1", "Renamed")


def expected(tmp_path: Path, **more: object) -> str:
    file = tmp_path / "expected.txt"
    customers = {"a-1": {"name": "Acme", "signed_tos": True, "skus": [], **more}}
    file.write_text("something before\n" + json.dumps({"customers": customers, "acknowledged": 3}) + "\n", encoding="utf-8")
    return str(file)


def test_what_the_simulator_expects_is_compared(acme: Customer, tmp_path: Path) -> None:
    told = io.StringIO()
    call_command("licenses_expected", expected(tmp_path), stdout=told)
    assert "All 1 customers" in told.getvalue()
    for more, sentence in (
        ({"skus": ["SKU1"]}, "skus is [] instead of ['SKU1']"),
        ({"signed_tos": False}, "signed_tos is True instead of False"),
        ({"name": "Other"}, "name is 'Acme' instead of 'Other'"),
    ):
        told = io.StringIO()
        with pytest.raises(CommandError, match="1 of 1"):
            call_command("licenses_expected", expected(tmp_path, **more), stdout=told)
        assert sentence in told.getvalue()
    with pytest.raises(CommandError, match="is no file"):
        call_command("licenses_expected", str(tmp_path / "none"))


def test_a_customer_that_never_arrived_is_a_mismatch(tmp_path: Path) -> None:
    told = io.StringIO()
    with pytest.raises(CommandError):
        call_command("licenses_expected", expected(tmp_path), stdout=told)
    assert "not here" in told.getvalue()
