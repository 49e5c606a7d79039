"""The Pub/Sub API over the event bus: gRPC in the sandbox's own loop, so that no stream sees a change half done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio

from ..pubsub.eventbus_pb2 import (
    CUSTOM,
    EARLIEST,
    ConsumerEvent,
    FetchRequest,
    FetchResponse,
    ProducerEvent,
    SchemaInfo,
    SchemaRequest,
)
from .eventbus import Kept, Topic
from .org import ORG_ID
from .server import Server

MOST = 100
ERROR = "sfdc.platform.eventbus.grpc."
Context = Any  # grpc.aio's, whose stubs do not say what it serves


class PubSub:
    def __init__(self, server: Server) -> None:
        self._server, self._bus = server, server.bus

    async def started(self) -> tuple[Any, int]:
        """The server, and the port on loopback that it took."""
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((self._handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    def _handlers(self) -> Any:
        calls = {
            "Subscribe": grpc.stream_stream_rpc_method_handler(
                self.subscribe,
                request_deserializer=FetchRequest.FromString,
                response_serializer=FetchResponse.SerializeToString,
            ),
            "GetSchema": grpc.unary_unary_rpc_method_handler(
                self.schema,
                request_deserializer=SchemaRequest.FromString,
                response_serializer=SchemaInfo.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler("eventbus.v1.PubSub", calls)

    async def schema(self, asked: SchemaRequest, context: Context) -> SchemaInfo:
        await self._let_in(context)
        found = next((one for one in self._bus.schemas.values() if one.id == asked.schema_id), None)
        if found is None:
            await _refuse(context, grpc.StatusCode.NOT_FOUND, "schema.not.found", "no such schema")
            raise AssertionError("refused")
        return SchemaInfo(schema_json=found.json, schema_id=found.id)

    async def subscribe(self, requests: AsyncIterator[FetchRequest], context: Context) -> AsyncIterator[FetchResponse]:
        await self._let_in(context)
        first = await anext(requests)
        topic = self._bus.topics.get(first.topic_name)
        if topic is None:
            await _refuse(context, grpc.StatusCode.NOT_FOUND, "topic.not.found", f"The {first.topic_name} topic does not exist")
            return
        self._bus.forget(topic)
        number = await self._begin(topic, first, context)
        running = Running(topic, number, first.num_requested)
        listening = asyncio.create_task(running.listen(requests))
        self._bus.streams, self._bus.begun = self._bus.streams + 1, self._bus.begun + 1
        try:
            async for response in self._responses(running, context):
                yield response
        finally:
            listening.cancel()
            self._bus.streams -= 1

    async def _begin(self, topic: Topic, first: FetchRequest, context: Context) -> int:
        if first.replay_preset == EARLIEST:
            return topic.events[0].number - 1 if topic.events else topic.last
        if first.replay_preset != CUSTOM:
            return topic.last
        number = topic.after(first.replay_id)
        if number is None:
            word, said = "subscription.fetch.replayid.corrupted", "The Replay ID validation failed"
            await _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, word, said)
        return number or 0

    async def _responses(self, running: Running, context: Context) -> AsyncIterator[FetchResponse]:
        while True:
            if ending := self._bus.ending:
                await _refuse(
                    context, grpc.StatusCode[ending], "service.auth.error" if "AUTH" in ending else "unavailable", "ended"
                )
            some = running.take()
            if some:
                yield running.response(some)
            elif running.idle(self._bus.patience):
                return
            elif not await running.woken(self._bus.keepalive if running.pending else self._bus.patience) and running.pending:
                yield running.response([])

    async def _let_in(self, context: Context) -> None:
        proof = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        known = proof.get("accesstoken") in self._server.tokens.access
        if not known or proof.get("tenantid") != ORG_ID or not proof.get("instanceurl", "").startswith("http"):
            await _refuse(context, grpc.StatusCode.UNAUTHENTICATED, "service.auth.error", "session is not valid")


class Running:
    """One stream: how far it is, and how many more events it may bring."""

    def __init__(self, topic: Topic, number: int, pending: int) -> None:
        self._topic, self._number, self.pending = topic, number, pending
        self._asked = asyncio.get_running_loop().time()

    async def listen(self, requests: AsyncIterator[FetchRequest]) -> None:
        async for one in requests:
            self.pending += one.num_requested
            self._asked = asyncio.get_running_loop().time()
            self._topic.woken.set()

    def take(self) -> list[Kept]:
        some = [one for one in self._topic.events if one.number > self._number][: min(self.pending, MOST)]
        if some:
            self._number, self.pending = some[-1].number, self.pending - len(some)
            self._asked = asyncio.get_running_loop().time()
        return some

    def idle(self, patience: float) -> bool:
        return self.pending == 0 and asyncio.get_running_loop().time() - self._asked >= patience

    async def woken(self, seconds: float) -> bool:
        """False when so many seconds went by without anything."""
        self._topic.woken.clear()
        try:
            await asyncio.wait_for(self._topic.woken.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def response(self, some: Iterable[Kept]) -> FetchResponse:
        events = [ConsumerEvent(event=_event(one), replay_id=self._topic.place(one.number)) for one in some]
        last = self._topic.place(self._number)
        return FetchResponse(events=events, latest_replay_id=last, pending_num_requested=self.pending)


def _event(one: Kept) -> ProducerEvent:
    return ProducerEvent(id=one.id, schema_id=one.schema_id, payload=one.payload)


async def _refuse(context: Context, code: grpc.StatusCode, word: str, said: str) -> None:
    await context.abort(code, said, (("error-code", ERROR + word),))
