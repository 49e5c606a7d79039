"""The event bus: a channel to it, streams of one topic, schemas. What it refuses becomes one of our errors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from syncline.contract import ConfigError, Permanent, Retryable, Session

from .eventbus_pb2 import CUSTOM, EARLIEST, FetchRequest, FetchResponse, SchemaInfo, SchemaRequest
from .events import Schema

SERVICE: Final = "/eventbus.v1.PubSub"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
OPTIONS: Final = (("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.enable_http_proxy", 0))
CALL: Final = 20.0  # seconds for a schema
MOST: Final = 100  # events that may be under way
AGAIN: Final = 5.0
LATER: Final = 60.0


class Expired(Exception):
    """The token is not accepted, perhaps no more."""


class Lost(Exception):
    """The place to go on from is unknown by now."""


class Bus:
    """A channel of one account. `tenant`: the account's id."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session, self._tenant = session, tenant
        self._schemas: dict[str, Schema] = {}
        self._channel = _channel(session)

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._channel.close()

    def stream(self, topic: str, after: bytes) -> Stream:
        """After that event; b"": from the oldest one kept."""
        return Stream(self._channel, self._proof(), topic, after)

    def schema(self, schema_id: str) -> Schema:
        if schema_id not in self._schemas:
            ask = self._channel.unary_unary(
                f"{SERVICE}/GetSchema",
                request_serializer=SchemaRequest.SerializeToString,
                response_deserializer=SchemaInfo.FromString,
            )
            try:
                found = ask(SchemaRequest(schema_id=schema_id), metadata=self._proof(), timeout=CALL)
            except grpc.RpcError as error:
                raise failure(error, "the schema of an event") from None
            self._schemas[schema_id] = Schema(found.schema_json)
        return self._schemas[schema_id]

    def _proof(self) -> tuple[tuple[str, str], ...]:
        held = self._session.credentials()
        token = held.get("access_token") or held.get("token") or ""
        address = self._session.settings["instance_url"].rstrip("/")
        return (("accesstoken", token), ("instanceurl", address), ("tenantid", self._tenant))


class Stream:
    """One topic from one place on. Events come as they were asked for; a thread waits for them."""

    def __init__(self, channel: grpc.Channel, proof: tuple[tuple[str, str], ...], topic: str, after: bytes) -> None:
        self._topic = topic
        self._asked: queue.SimpleQueue[FetchRequest | None] = queue.SimpleQueue()
        self._heard: queue.SimpleQueue[FetchResponse | Exception] = queue.SimpleQueue()
        begin = FetchRequest(topic_name=topic, num_requested=MOST, replay_preset=CUSTOM if after else EARLIEST, replay_id=after)
        self._asked.put(begin)
        open_stream = channel.stream_stream(
            f"{SERVICE}/Subscribe",
            request_serializer=FetchRequest.SerializeToString,
            response_deserializer=FetchResponse.FromString,
        )
        self._call: Any = open_stream(iter(self._asked.get, None), metadata=proof)
        self._reader = threading.Thread(target=self._read, name=f"follow {topic}", daemon=True)
        self._reader.start()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._asked.put(None)
        self._call.cancel()
        self._reader.join(AGAIN)

    def next(self, patience: float) -> FetchResponse | None:
        """None when nothing came for so many seconds."""
        try:
            heard = self._heard.get(timeout=patience)
        except queue.Empty:
            return None
        if isinstance(heard, Exception):
            raise heard
        return heard

    def ask(self, pending: int) -> None:
        """Keeps some events under way, so that the stream neither stops nor runs ahead of who reads it."""
        if pending <= MOST // 2:
            self._asked.put(FetchRequest(num_requested=MOST - pending))

    def _read(self) -> None:
        for heard in self._responses():
            self._heard.put(heard)

    def _responses(self) -> Iterator[FetchResponse | Exception]:
        try:
            yield from self._call
            yield Retryable(f"Salesforce ended the stream of {self._topic}. It is opened again where it stopped.", AGAIN)
        except grpc.RpcError as error:
            yield failure(error, self._topic)


def _channel(session: Session) -> grpc.Channel:
    address = str(session.settings["pubsub_url"])
    session.http.check_host(f"//{address}")
    if urlsplit(f"//{address}").hostname in LOOPBACK:
        return grpc.insecure_channel(address, OPTIONS)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(), OPTIONS)


def failure(error: Any, what: str) -> Exception:
    """`error`: a call that ended in a status other than OK."""
    code, said = error.code(), str(error.details() or "")[:200].rstrip(". ")
    word = next((str(value) for key, value in error.trailing_metadata() or () if key == "error-code"), code.name)
    told = f"Salesforce’s event bus refused {what} ({word.rpartition('grpc.')[2]}): {said}."
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Expired(told)
    if "fetch.replayid" in word:
        return Lost(told)
    if code in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND):
        return ConfigError(
            f"{told} Choose the object in Setup → Change Data Capture, and let the user of this connection see it."
        )
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
        return Permanent(told)
    return Retryable(f"{told} It is opened again.", LATER if code is grpc.StatusCode.RESOURCE_EXHAUSTED else AGAIN)
