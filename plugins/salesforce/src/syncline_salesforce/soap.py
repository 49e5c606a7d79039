"""Outbound Messages: XML from whoever knows the address, so it is read without entities, and not deep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]
from syncline.contract import Event, EventKind, Permanent

from .ids import full

MOST: Final = 100
DEPTH: Final = 12
ELEMENTS: Final = 100_000
LONGEST: Final = 1000
_MESSAGE: Final = "{http://soap.sforce.com/2005/09/outbound}"
_BODY: Final = "{http://schemas.xmlsoap.org/soap/envelope/}Body"
_TYPE: Final = "{http://www.w3.org/2001/XMLSchema-instance}type"
_ENVELOPE: Final = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>{}</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)
ACKNOWLEDGED: Final = _ENVELOPE.format("true").encode()
AGAIN: Final = _ENVELOPE.format("false").encode()


class _TooDeep(Exception):
    pass


class _Shallow(TreeBuilder):
    """Stops reading where no message of Salesforce's goes on."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = self._seen = 0

    def start(self, tag: Any, attrs: Any, /) -> Element:
        self._depth += 1
        self._seen += 1
        if self._depth > DEPTH or self._seen > ELEMENTS:
            raise _TooDeep
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Element:
        self._depth -= 1
        return super().end(tag)


def is_xml(body: bytes) -> bool:
    return body[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")


def parse(body: bytes) -> list[Event]:
    told = _root(body).find(f"{_BODY}/{_MESSAGE}notifications")
    if told is None:
        raise Permanent("The delivery is XML, but not an outbound message of Salesforce's.")
    notifications = told.findall(f"{_MESSAGE}Notification")
    if len(notifications) > MOST:
        raise Permanent(f"The delivery holds {len(notifications)} notifications; Salesforce sends {MOST} at most.")
    account, action = full(_text(told, "OrganizationId")), _text(told, "ActionId")[:LONGEST]
    return [_event(account, action, one) for one in notifications]


def _root(body: bytes) -> Element:
    parser = DefusedXMLParser(target=_Shallow(), forbid_dtd=True)
    try:
        parser.feed(body)
        root: Element = parser.close()
    except (ParseError, DefusedXmlException, _TooDeep, ValueError, LookupError) as error:
        raise Permanent(f"The delivery is XML that is not read ({type(error).__name__.strip('_')}).") from None
    return root


def _event(account: str, action: str, told: Element) -> Event:
    """A message tells the record as it was when it was sent; whether it was new, it does not tell."""
    record, key = told.find(f"{_MESSAGE}sObject"), _text(told, "Id")[:LONGEST]
    if record is None:
        return Event(EventKind.UNKNOWN, key, account, data={"action": action})
    object_type = record.get(_TYPE, "").rpartition(":")[2][:LONGEST]
    fields = _fields(record)
    remote_id = full(fields.get("Id"))
    kind = EventKind.CHANGED if remote_id and object_type else EventKind.UNKNOWN
    return Event(kind, key, account, object_type, remote_id, data={"action": action, "fields": dict(fields)})


def _fields(record: Element) -> Mapping[str, str]:
    """As text: a message says nothing about types. What is empty was not sent, or is nil."""
    return {_local(field.tag): field.text[:LONGEST] for field in record if field.text and not len(field)}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2][:LONGEST]


def _text(parent: Element, name: str) -> str:
    return (parent.findtext(f"{_MESSAGE}{name}") or "").strip()
