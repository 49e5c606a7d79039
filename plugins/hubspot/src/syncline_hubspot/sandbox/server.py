"""The whole sandbox: its accounts, tokens, limits, faults and counters."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from .clock import Clock
from .config import Config
from .counters import Counters
from .faults import ANSWERS, Faults, Rule, answer_of, emptied, halved, internal_error
from .importing import advance
from .limits import Limits
from .portal import DEFAULT_PORTAL, Portal
from .records import Kind
from .router import Endpoint
from .tokens import Tokens, require
from .webhooks import Webhooks
from .wire import ApiError, Call, Json, Reply, correlation_id


@dataclass(slots=True)
class OAuthApp:
    client_id: str = "sandbox-client"
    client_secret: str = "sandbox-secret"  # noqa: S105 - the sandbox's own, known to everyone
    redirect_uris: tuple[str, ...] = ()
    """Empty: any loopback address is accepted."""


class Cut(Exception):
    """The connection is cut; with `partial`, after the first bytes of an answer."""

    def __init__(self, *, partial: bool) -> None:
        super().__init__("cut on purpose")
        self.partial = partial


@dataclass(slots=True)
class Server:
    config: Config = field(default_factory=Config)
    app: OAuthApp = field(default_factory=OAuthApp)
    clock: Clock = field(default_factory=Clock)
    tokens: Tokens = field(init=False)
    limits: Limits = field(init=False)
    webhooks: Webhooks = field(init=False)
    faults: Faults = field(default_factory=Faults)
    counters: Counters = field(default_factory=Counters)
    portals: dict[int, Portal] = field(default_factory=dict)
    token: str = ""
    """The private token of the default account."""

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.clock)
        self.limits = Limits(self.clock, self.config)
        self.webhooks = Webhooks(self.clock, self.config)
        self.token = self.tokens.issue_private(DEFAULT_PORTAL).token

    def portal(self, portal_id: int = DEFAULT_PORTAL) -> Portal:
        """An account; one that is not there yet is opened."""
        if portal_id not in self.portals:
            self.portals[portal_id] = Portal(portal_id, self.clock, self.config, self._tell)
        return self.portals[portal_id]

    def _tell(self, portal_id: int, kind: Kind, word: str, source: str, details: Json) -> None:
        if self.webhooks.heard:
            self.webhooks.tell(portal_id, kind, word, source, details)

    def reset(self) -> None:
        """Forgets all records, counters, faults and subscriptions; tokens and settings stay."""
        self.portals.clear()
        self.webhooks.stop()
        self.webhooks = Webhooks(self.clock, self.config)
        self.faults = Faults()
        self.counters = Counters()
        self.limits = Limits(self.clock, self.config)

    async def answer(self, endpoint: Endpoint, call: Call) -> Reply:
        """One call from the first byte read to the reply to send; raises Cut instead where a fault says so."""
        status = 0
        try:
            reply = await self._carried_out(endpoint, call)
            status = reply.status
        except ApiError as refused:
            reply, status = refused.reply, refused.reply.status
        finally:
            self.counters.count(endpoint.kind, status)
        reply.headers.setdefault("X-HubSpot-Correlation-Id", correlation_id())
        return reply

    async def _carried_out(self, endpoint: Endpoint, call: Call) -> Reply:
        if self.config.latency_ms:
            await asyncio.sleep(self.config.latency_ms / 1000)
        if endpoint.scopes is not None:
            require(call.grant, endpoint.scopes(call))
        if call.portal.imports.open:
            advance(call.portal)
        rule = self.faults.strike(endpoint.kind, call.method, call.path, call.grant.portal_id)
        if rule and rule.kind in ANSWERS:
            raise answer_of(rule, call.grant.budget)
        headers = self.limits.admit(call.grant, endpoint.pool) if endpoint.scopes is not None else {}
        try:
            reply = await self._with(rule, endpoint, call)
        except ApiError as refused:
            refused.reply.headers.update(headers)
            raise
        reply.headers.update(headers)
        return reply

    async def _with(self, rule: Rule | None, endpoint: Endpoint, call: Call) -> Reply:
        """Handlers run without a pause, so that no call sees another one half done."""
        if rule is None:
            return endpoint.handler(call)
        if rule.kind == "slow":
            await asyncio.sleep(rule.seconds)
            return endpoint.handler(call)
        if rule.kind == "cut_before":
            raise Cut(partial=False)
        if rule.kind == "partial_write_then_500":
            halved(call)
            endpoint.handler(call)
            raise internal_error()
        reply = endpoint.handler(call)
        if rule.kind == "cut_after":
            raise Cut(partial=rule.partial_body)
        return emptied(reply)
