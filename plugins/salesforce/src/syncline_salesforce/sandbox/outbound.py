"""Outbound messages: what changed, in its latest state, up to 100 records of an object, again and again until it is acknowledged.

Pauses before another attempt pass with the sandbox's clock.
"""

from __future__ import annotations

import asyncio
import itertools
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from .. import soap
from ..ids import full
from .org import ORG_ID, Org, Record

MOST = 100
POLL_S = 0.02
TIMEOUT_S = 10.0
FIRST_PAUSE, LONGEST_PAUSE, GIVEN_UP_AFTER = 15.0, 7_200.0, 86_400.0
OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SF = "urn:sobject.enterprise.soap.sforce.com"


@dataclass(slots=True)
class Notification:
    id: str
    kind: str
    record_id: str
    since: float
    due: float
    attempt: int = 0


@dataclass(slots=True)
class Outbound:
    """One flow's action. `duplicates`: each acknowledged message is sent once more."""

    org: Org
    url: str = ""
    kind: str = ""
    fields: tuple[str, ...] = ()
    duplicates: bool = False
    waiting: list[Notification] = field(default_factory=list)
    counts: dict[str, int] = field(
        default_factory=lambda: {"told": 0, "messages": 0, "acknowledged": 0, "refused": 0, "given_up": 0}
    )
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    loop: asyncio.Task[None] | None = None

    def tell(self, kind: str, record: Record, _change: str, _before: Record) -> None:
        if self.url and kind == self.kind and not record["IsDeleted"]:
            now, number = self.org.clock.now(), next(self.numbers)
            self.counts["told"] += 1
            self.waiting.append(Notification(full(f"04l{number:012d}"), kind, record["Id"], now, now))
            self.wake()

    def wake(self) -> None:
        if self.loop is None or self.loop.done():
            self.loop = asyncio.get_running_loop().create_task(self._deliver())

    def stop(self) -> None:
        self.url = ""
        self.waiting.clear()

    async def _deliver(self) -> None:
        while self.waiting:
            await asyncio.sleep(POLL_S)
            now = self.org.clock.now()
            some = [one for one in self.waiting if one.due <= now][:MOST]
            if some:
                await self._send(some)

    async def _send(self, some: list[Notification]) -> None:
        body = message(self.org, self.fields, some)
        self.counts["messages"] += 1
        taken = await asyncio.to_thread(acknowledged, self.url, body)
        if taken and self.duplicates:
            await asyncio.to_thread(acknowledged, self.url, body)
        for one in some:
            if one in self.waiting:
                self._settle(one, taken=taken)

    def _settle(self, one: Notification, *, taken: bool) -> None:
        now = self.org.clock.now()
        if taken or now - one.since > GIVEN_UP_AFTER:
            self.waiting.remove(one)
            self.counts["acknowledged" if taken else "given_up"] += 1
            return
        self.counts["refused"] += 1
        one.due, one.attempt = now + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**one.attempt), one.attempt + 1

    def as_dict(self) -> dict[str, Any]:
        return {"url": self.url, "waiting": len(self.waiting), **self.counts}


def message(org: Org, fields: tuple[str, ...], some: list[Notification]) -> bytes:
    envelope = Element(f"{{{ENVELOPE}}}Envelope")
    told = SubElement(SubElement(envelope, f"{{{ENVELOPE}}}Body"), f"{{{OUTBOUND}}}notifications")
    for name, text in (("OrganizationId", ORG_ID), ("ActionId", full("04k000000000001"))):
        SubElement(told, f"{{{OUTBOUND}}}{name}").text = text
    SubElement(told, f"{{{OUTBOUND}}}SessionId", {f"{{{XSI}}}nil": "true"})
    for name in ("EnterpriseUrl", "PartnerUrl"):
        SubElement(told, f"{{{OUTBOUND}}}{name}").text = "https://sandbox.my.salesforce.com/services/Soap"
    for one in some:
        _notified(told, org.records[one.kind][one.record_id], fields, one)
    return b'<?xml version="1.0" encoding="UTF-8"?>' + bytes(tostring(envelope))


def _notified(told: Element, record: Record, fields: tuple[str, ...], one: Notification) -> None:
    notification = SubElement(told, f"{{{OUTBOUND}}}Notification")
    SubElement(notification, f"{{{OUTBOUND}}}Id").text = one.id
    shown = SubElement(notification, f"{{{OUTBOUND}}}sObject", {f"{{{XSI}}}type": f"sf:{one.kind}", "xmlns:sf": SF})
    for name in dict.fromkeys(("Id", *fields)):
        if (value := record[name]) is not None:
            SubElement(shown, f"sf:{name}").text = str(value).lower() if isinstance(value, bool) else str(value)


def acknowledged(url: str, body: bytes) -> bool:
    """Status 200 and the very words; whatever else comes, it is sent again."""
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - an address on this machine
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return bool(answer.status == 200 and answer.read() == soap.ACKNOWLEDGED)
    except (OSError, urllib.error.URLError):
        return False
