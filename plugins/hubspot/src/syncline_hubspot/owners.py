"""Owners: the people records are assigned to. HubSpot lists them, and lets nobody write them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from syncline.contract import (
    Choice,
    ConfigError,
    Kind,
    ObjectType,
    Page,
    Property,
    PullRequest,
    RemoteRecord,
    Session,
    UnsupportedFeature,
)

from .client import PAGE, Client
from .errors import Json, Refused
from .listing import surely
from .properties import SCHEMAS
from .wire import Reader

KEY: Final = "owners"
FEW: Final = 10  # read one by one; more are found in the list
FIELDS: Final = (
    ("id", "Owner id", Kind.STRING),
    ("email", "E-mail", Kind.EMAIL),
    ("firstName", "First name", Kind.STRING),
    ("lastName", "Last name", Kind.STRING),
    ("userId", "User id", Kind.NUMBER),
    ("teams", "Teams", Kind.SET),
    ("archived", "Archived", Kind.BOOLEAN),
)


def refuse(kind: ObjectType) -> None:
    if kind.key == KEY:
        raise UnsupportedFeature("HubSpot's owners can be read only: they are users, and managed in HubSpot's settings.")


def known(session: Session, client: Client) -> list[Json] | None:
    """All owners; None without the scope."""
    try:
        return [raw for raws, _ in client.pages(client.owners.get_page) for raw in raws]
    except ConfigError as error:
        session.log.info("Owners are not offered, neither as choices nor to be pulled: %s", error)
        return None


def object_type(count: int) -> ObjectType:
    properties = tuple(Property(name, label, kind, _schema(kind), read_only=True) for name, label, kind in FIELDS)
    return ObjectType(KEY, "Owners", properties, {}, page_size=PAGE, count=count, pull_archived=True)


def _schema(kind: Kind) -> Json:
    return {"type": "array", "items": {"type": "string"}} if kind is Kind.SET else SCHEMAS.get(kind, {"type": "string"})


def choice(raw: Json) -> Choice:
    name = " ".join(part for part in (raw.get("firstName"), raw.get("lastName")) if part)
    email = raw.get("email") or ""
    return Choice(str(raw["id"]), f"{name} ({email})" if name and email else name or email or str(raw["id"]))


def pull(client: Client, kind: ObjectType, request: PullRequest) -> Iterator[Page]:
    """Owners bear no date of their archiving: the archived ones are given whole, whatever moment is asked for."""
    asked = {"after": request.position, **({"archived": True} if request.archived else {})}
    for raws, position in client.pages(partial(surely, client.owners.get_page), **asked):
        yield Page(_records(kind, raws, request.properties), position)


def fetch(client: Client, kind: ObjectType, ids: Sequence[str], properties: Sequence[str]) -> dict[str, RemoteRecord]:
    wanted = list(dict.fromkeys(ids))
    if len(wanted) <= FEW:
        raws = [raw for one in wanted if (raw := _single(client, one))]
    else:
        raws = [raw for page, _ in client.pages(partial(surely, client.owners.get_page)) for raw in page]
    found = {one.id: one for one in _records(kind, raws, properties)}
    return {one: found[one] for one in wanted if one in found and not found[one].archived}


def _single(client: Client, asked: str) -> Json | None:
    if not asked.isdigit():
        return None
    try:
        found: Json = client.owners.get_by_id(asked)
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return found


def _records(kind: ObjectType, raws: Iterable[Json], properties: Sequence[str]) -> list[RemoteRecord]:
    reader = Reader(kind)
    return [reader({**raw, "properties": {name: _value(raw, name) for name in properties}}) for raw in raws]


def _value(raw: Json, name: str) -> str | None:
    value = ";".join(str(team["name"]).replace(";", ",") for team in raw.get("teams") or ()) if name == "teams" else raw.get(name)
    return None if value is None else str(value)
