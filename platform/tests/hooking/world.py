"""A vendor app with two accounts, its address, and a sender that knows its secret."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from syncline.connections.models import Connection, Registration
from syncline.inbox import addresses
from syncline.inbox.models import InboxEvent, WebhookAddress

from .vendor import SECRET, sign

PUBLIC = "https://sync.example.com"


@dataclass
class Pulls:
    """Stands for the runs: notes what was asked for, and refuses while told to."""

    asked: list[tuple[int, str, list[str]]] = field(default_factory=list)
    refusal: Exception | None = None
    syncs: int = 1
    meanwhile: Callable[[int], None] | None = None

    def __call__(self, connection_id: int, object_type: str, remote_ids: Sequence[str]) -> int:
        if self.refusal:
            raise self.refusal
        if self.meanwhile:
            self.meanwhile(connection_id)
        self.asked.append((connection_id, object_type, list(remote_ids)))
        return self.syncs


@dataclass
class World:
    owner: User
    app: Registration
    first: Connection
    second: Connection
    address: WebhookAddress
    slug: str
    pulls: Pulls = field(default_factory=Pulls)

    def post(self, events: Any, *, slug: str = "", secret: str = SECRET, query: str = "", **headers: str) -> Any:
        """As the vendor would; `events` may be bytes."""
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        path = f"/hooks/{slug or self.slug}/{query}"
        given = {"x-signature": sign(body, PUBLIC + path, secret)} if secret else {}
        return Client().post(path, body, content_type="application/json", headers={**given, **headers}, secure=True)

    def events(self, **which: Any) -> list[InboxEvent]:
        return list(InboxEvent.objects.filter(**which).order_by("pk"))

    def states(self) -> list[str]:
        return [one.state for one in self.events()]


def connection(owner: User, name: str, account: str, app: Registration | None = None, connector: str = "signed") -> Connection:
    made = Connection.objects.create(connector=connector, name=name, owner=owner, registration=app)
    Connection.objects.filter(pk=made.pk).update(account_id=account, state="ok")
    made.refresh_from_db()
    return made


def build() -> World:
    owner = User.objects.create_user("ann", "ann@example.com", "x", is_staff=True)
    app = Registration.objects.create(connector="signed", name="app", client_id="id", client_secret=SECRET)
    first, second = connection(owner, "first", "1", app), connection(owner, "second", "2", app)
    address = addresses.make(app)
    return World(owner, app, first, second, address, address.names.get().slug)


def event(id_: str = "7", account: str = "1", key: str = "", **more: Any) -> dict[str, Any]:
    return {"id": id_, "account": account, "key": key, **more}
