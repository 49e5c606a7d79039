"""The first system's simulator, a Go program, posts ten customers; its licences are right.

Imitated byte for byte: `json.Marshal` of a struct without tags, `http.NewRequest` without a header of its own, and ten customers
made once, of whom one is drawn for each request. So the same bodies come again and again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import socket
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from syncline.inbox.models import Delivery
from syncline.ledger.messages import Outgoing
from syncline_host.demo_events import scenario
from syncline_licensing.expected import mismatches
from syncline_licensing.models import Customer, LicenseChange

from tests.events.going import streams, topic_of_its_own, until
from tests.inbound.server import serving

if TYPE_CHECKING:
    from tests.services.kafka.service import Kafka

pytestmark = pytest.mark.django_db(transaction=True)
CUSTOMERS, REQUESTS = 10, 200
GO_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
PEOPLE = ("Kaitlyn O'Conner", "Zoë Müller", "Smith & <Sons>", "Ned\u2028Land")


@dataclass(frozen=True)
class GoCustomer:
    """The struct's fields in their order, as they are marshalled."""

    AccountManager: str
    Id: str
    Name: str
    SalesEngineerId: str
    SignedTos: bool
    SKU1: bool
    SKU2: bool
    SKU3: bool

    def marshalled(self) -> bytes:
        said = json.dumps(self.__dict__, ensure_ascii=False, separators=(",", ":"))
        return "".join(GO_ESCAPES.get(one, one) for one in said).encode()

    def expected(self) -> dict[str, object]:
        return {
            "name": self.Name,
            "signed_tos": self.SignedTos,
            "skus": [n for n in ("SKU1", "SKU2", "SKU3") if getattr(self, n)],
        }


def made(chance: random.Random, number: int) -> GoCustomer:
    ids = [str(uuid.UUID(int=chance.getrandbits(128), version=4)) for _ in range(2)]
    flags = [chance.random() < 0.5 for _ in range(4)]
    return GoCustomer(chance.choice(PEOPLE), ids[0], f"customer{number}.biz", ids[1], *flags)


def requested(port: int, body: bytes) -> bytes:
    return (
        f"POST /salesforce/webhook HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Content-Length: {len(body)}\r\nAccept-Encoding: gzip\r\n\r\n"
    ).encode() + body


class GoClient:
    """Keeps its connection as long as the server does, as Go's default transport."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open()

    def _open(self) -> None:
        self._line = socket.create_connection(("127.0.0.1", self._port), 30)

    def post(self, body: bytes) -> int:
        self._line.sendall(requested(self._port, body))
        with http.client.HTTPResponse(self._line, method="POST") as answer:
            answer.begin()
            answer.read()
            ends = answer.will_close
        if ends:
            self.close()
            self._open()
        return answer.status

    def close(self) -> None:
        self._line.close()


def test_ten_customers_posted_by_a_go_program_hold_the_licences_they_were_drawn_with(kafka: Kafka, database_url: str) -> None:
    chance = random.Random(10)
    customers = [made(chance, number) for number in range(CUSTOMERS)]
    drawn = [*customers, *(chance.choice(customers) for _ in range(REQUESTS - CUSTOMERS))]
    with (
        topic_of_its_own(kafka, "go") as topic,
        override_settings(SYNCLINE_ALLOW_LOOPBACK=True),
        serving("--workers", "1", "--threads", "2", app="syncline_host.wsgi", database_url=database_url) as web,
        streams(database_url) as start,
    ):
        scenario.make(User.objects.create_superuser("ann"), kafka.servers, topic)
        start()
        with contextlib.closing(GoClient(web.port)) as client:
            answers = [client.post(one.marshalled()) for one in drawn]
        assert answers == [200] * REQUESTS
        until(lambda: mismatches({one.Id: one.expected() for one in customers}) == [])
        until(lambda: not Outgoing.objects.filter(state="waiting").exists() and Outgoing.objects.count() == REQUESTS)

    assert Customer.objects.count() == CUSTOMERS
    assert {one.account_manager for one in Customer.objects.all()} == {one.AccountManager for one in customers}
    assert {bytes(one.body) for one in Delivery.objects.all()} == {one.marshalled() for one in customers}
    assert not [one for one in Delivery.objects.all() if "Content-Type" in one.headers or "content-type" in one.headers]
    states = list(Outgoing.objects.values_list("state", flat=True))
    assert {state: states.count(state) for state in states} == {"published": CUSTOMERS, "unchanged": REQUESTS - CUSTOMERS}
    held = sum(flag for one in customers for flag in (one.SignedTos, one.SKU1, one.SKU2, one.SKU3))
    assert LicenseChange.objects.count() == held
