"""Our messages ↔ Kafka's: key, value and headers, with CloudEvents 1.0 in binary mode (structured mode is read as well)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured, to_binary
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Message as Raw
from syncline.contract import Change, Code, Message, ObjectType, Property, RecordRejected, RemoteRecord, Value

from .values import AS_THEY_ARE, WHOLE, read, text, wire

FORMAT: Final = JSONFormat()
JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"
LARGEST: Final = 2**63 - 1
Headers = list[tuple[str, str | bytes | None]]


def packed(object_type: ObjectType, change: Change, installation: str) -> tuple[bytes | None, bytes | None, Headers]:
    """Key, value and headers; RecordRejected when it can be no message."""
    message = change.message or Message()
    value = _value(object_type, change.properties, message)
    if value is None and message.key is None:
        raise RecordRejected("The message has neither a value nor a key. Map something to it.", code=Code.REQUIRED)
    key = None if message.key is None else message.key.encode()
    headers: dict[str, str | bytes] = {**message.headers}
    if message.id:
        headers |= _event(message, value or b"", installation).headers
    return key, value, list(headers.items())


def _value(object_type: ObjectType, properties: Mapping[str, Value], message: Message) -> bytes | None:
    if message.body:
        return message.body
    whole = properties.get(WHOLE)
    if len(properties) == (WHOLE in properties):
        return None if whole is None else str(whole).encode()
    kinds = {one.name: one.kind for one in object_type.properties}
    try:
        named = {name: wire(kinds[name], value) for name, value in properties.items() if name != WHOLE}
        base = orjson.loads(str(whole)) if whole is not None else {}
        if isinstance(base, dict):
            return orjson.dumps({**base, **named})
    except (ValueError, TypeError) as error:  # such as what is nested too deep, or a number larger than JSON libraries read
        said = f"Nothing can be added to what is mapped to {WHOLE}" if whole is not None else "It is refused"
        said += f", for it cannot be written as JSON: {error}. Map it alone, or leave it out."
        raise RecordRejected(said, code=Code.INVALID_VALUE) from None
    raise RecordRejected(f"What is mapped to {WHOLE} is no object: nothing can be added to it.", code=Code.INVALID_VALUE)


def _event(message: Message, value: bytes, installation: str) -> KafkaMessage:
    attributes: dict[str, Any] = {
        "id": message.id,
        "source": message.source or f"/syncline/{installation}",
        "type": message.type or "syncline.message",
        "datacontenttype": message.headers.get("content-type", JSON),
        "time": message.at,
        "partitionkey": message.key,
        "sequence": None if message.sequence is None else str(message.sequence),
    }
    try:
        event = CloudEvent({name: given for name, given in attributes.items() if given not in (None, "")}, value)
    except CloudEventValidationError as error:
        raise RecordRejected(f"The message is no CloudEvent: {error}", code=Code.INVALID_VALUE) from error
    return to_binary(event, FORMAT)


class Reader:
    """Reads the messages of one topic for the properties that are wanted."""

    def __init__(self, object_type: ObjectType, names: Iterable[str]) -> None:
        wanted = [object_type.property(name) or Property(name, name) for name in names if name != WHOLE]
        self._wanted = [(one.name, AS_THEY_ARE.get(one.kind), one) for one in wanted]
        self._whole = WHOLE in names

    def record(self, raw: Raw) -> RemoteRecord:
        """Whatever somebody put into a message, it is one with a problem at worst: those behind it are to be read."""
        value, key, at = raw.value(), raw.key(), _stamped(raw.timestamp()[1])
        told: Mapping[str, Any] = {}
        headers, properties, problem = dict[str, str](), dict[str, Value](), ""
        try:
            told, headers = _headers(raw)
            if value is not None:
                body = value
                if headers and headers.get("content-type", "").startswith(STRUCTURED):
                    told, body = _opened(value)
                properties = self._properties(body)
        except Exception as error:  # noqa: BLE001 - it becomes the message's problem
            problem = str(error) if type(error) is ValueError else f"The message cannot be read ({type(error).__name__})."
        message = Message(
            _text(told.get("id")),
            None if key is None else _text(key),
            _whole_number(told.get("sequence")),
            _text(told.get("type")),
            _text(told.get("source")),
            _moment(told.get("time")) or at,
            headers,
            value or b"",
            problem,
        )
        return RemoteRecord(f"{raw.partition()}:{raw.offset()}", properties, value is None, at, message=message)

    def _properties(self, body: bytes) -> dict[str, Value]:
        """ValueError, with a sentence, when they cannot be read."""
        try:
            value: Any = orjson.loads(body)
            found: dict[str, Value] = {WHOLE: text(value)} if self._whole else {}
        except ValueError as error:
            raise ValueError(f"The message is no JSON that can be read: {error}.") from None
        if type(value) is not dict and (self._wanted or type(value) is not list):
            raise ValueError("The message is JSON, but no object with properties.")
        fields: Any = value
        for name, plain, one in self._wanted:
            if name in fields:
                given = fields[name]
                found[name] = fields[name] if type(given) is plain else read(one, given)
        return found


def _opened(body: bytes) -> tuple[dict[str, Any], bytes]:
    """A CloudEvent in structured mode: its attributes, and its data as a message of their own would have it."""
    try:
        event = from_structured(KafkaMessage({}, None, body), FORMAT)
        data = event.get_data()
        own = data if isinstance(data, bytes) else json.dumps(data).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError, CloudEventValidationError) as error:
        raise ValueError(f"The message says that it is a CloudEvent, but is none: {error}") from None
    return dict(event.get_attributes()), own


def _headers(raw: Raw) -> tuple[Mapping[str, Any], dict[str, str]]:
    """The attributes of a CloudEvent in binary mode, and the others."""
    attributes: dict[str, str] = {}
    others: dict[str, str] = {}
    pairs: Any = raw.headers()  # a list whenever they come from a broker
    for name, value in pairs or ():
        if name.startswith("ce_"):
            attributes[name[3:]] = _text(value)
        else:
            others[name] = _text(value)
    return attributes, others


def _text(raw: Any) -> str:
    """Without what the database cannot hold."""
    if not raw:
        return ""
    found = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else _encodable(str(raw))
    return found.replace("\0", "\\x00") if "\0" in found else found


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _whole_number(told: Any) -> int | None:
    """None for what is none, or more than is counted anywhere here."""
    try:
        found = int(told) if isinstance(told, str | int) and len(str(told)) <= 20 else LARGEST + 1
    except ValueError:
        return None
    return found if abs(found) <= LARGEST else None


def _stamped(milliseconds: int) -> dt.datetime | None:
    """Kafka's own time. A producer may have set any number; None for what is no moment."""
    try:
        return dt.datetime.fromtimestamp(max(milliseconds, 0) / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _moment(told: Any) -> dt.datetime | None:
    if not told:
        return None
    try:
        found = told if isinstance(told, dt.datetime) else dt.datetime.fromisoformat(told)
        return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)
    except (ValueError, TypeError, OverflowError):
        return None
