"""Aliases that are whole paths: vendors keep the address they were given by an earlier system."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, override_settings
from syncline.contract import ConfigError
from syncline.inbox import addresses
from syncline.inbox.models import AddressName

HERE = Path(__file__).parent
sys.path += [path for path in (str(HERE),) if path not in sys.path]

from hooking import vendor  # noqa: E402
from hooking.world import PUBLIC, World, build, event  # noqa: E402

pytestmark = pytest.mark.django_db
PATH = "salesforce/webhook"


@pytest.fixture
def here() -> Iterator[World]:
    addresses._paths.forget()
    with vendor.installed(), override_settings(SYNCLINE_PUBLIC_URL=PUBLIC, ALLOWED_HOSTS=["*"]):
        yield build()
    addresses._paths.forget()


def post(path: str, **more: Any) -> Any:
    body = json.dumps([event()]).encode()
    signed = {"x-signature": vendor.sign(body, PUBLIC + path, vendor.SECRET)}
    return Client(enforce_csrf_checks=True).post(path, body, content_type="", headers=signed, secure=True, **more)


@pytest.mark.parametrize("end", ["", "/"])
def test_a_delivery_to_the_path_is_one_to_the_address(here: World, end: str) -> None:
    assert post(f"/{PATH}{end}").status_code == 404
    addresses.add_alias(here.address, PATH)
    assert post(f"/{PATH}{end}").status_code == 200
    assert len(here.events()) == 1
    assert addresses.url(PATH) == f"{PUBLIC}/{PATH}"


def test_other_paths_and_methods_stay_what_they_were(here: World) -> None:
    addresses.add_alias(here.address, PATH)
    for path in (f"/{PATH}/more", "/salesforce/", "/salesforce", f"/x/{PATH}"):
        assert post(path).status_code == 404, path
    assert Client().delete(f"/{PATH}", secure=True).status_code == 404
    assert Client().get("/healthz", secure=True).status_code == 200
    assert Client().get("/api/v1/connections", secure=True).status_code == 301
    assert here.events() == []


def test_a_dropped_path_leads_nowhere(here: World) -> None:
    addresses.add_alias(here.address, PATH)
    addresses.drop_alias(here.address, PATH)
    assert post(f"/{PATH}").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "admin/login",
        "admin/anything",
        "api/v1/token",
        "api/v1/connections",
        "static/some/file",
        "hooks/another",
        "oauth/callback",
    ],
)
def test_no_alias_takes_a_page_of_the_host(here: World, path: str) -> None:
    with pytest.raises(ConfigError, match="page of this host"):
        addresses.add_alias(here.address, path)


def test_a_page_that_the_host_gets_later_wins_over_an_alias(here: World) -> None:
    AddressName.objects.create(address=here.address, slug="api/v1/token")
    addresses._paths.forget()
    assert post("/api/v1/token/").status_code != 200
    assert here.events() == []


def test_while_the_database_is_away_the_vendor_is_asked_to_come_again(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("away")

    monkeypatch.setattr("syncline.inbox.prepared.rows", away)
    assert post(f"/{PATH}").status_code == 503
    assert Client().get(f"/{PATH}", secure=True).status_code == 404
    assert post("/api/v1/token/").status_code != 503


@override_settings(SECURE_SSL_REDIRECT=True)
def test_a_path_without_https_is_sent_there(here: World) -> None:
    addresses.add_alias(here.address, PATH)
    assert Client().post(f"/{PATH}", b"[]", content_type="a/b").status_code == 301
