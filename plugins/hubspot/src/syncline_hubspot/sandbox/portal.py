"""One HubSpot account: its object types and everything that belongs to it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from .clock import Clock, iso
from .config import Config
from .definitions import default_definitions
from .imports import Imports
from .links import Links
from .records import BUILT_IN, Kind, Table
from .wire import Json, error

DEFAULT_PORTAL = 147_000_001
APP_ID = 18_221_010
USER_ID = 88_842_095
FIRST_ID = 30_000_000_000

_STAGES = (
    ("appointmentscheduled", "Appointment Scheduled", "0.2"),
    ("qualifiedtobuy", "Qualified To Buy", "0.4"),
    ("presentationscheduled", "Presentation Scheduled", "0.6"),
    ("decisionmakerboughtin", "Decision Maker Bought-In", "0.8"),
    ("contractsent", "Contract Sent", "0.9"),
    ("closedwon", "Closed Won", "1.0"),
    ("closedlost", "Closed Lost", "0.0"),
)
_PEOPLE = (("Ada", "Marsh"), ("Benoit", "Clair"), ("Chika", "Obi"))


API, PERSON = "INTEGRATION", "CRM_UI"
"""Who changed something, as events and histories call it."""
Tell = Callable[[int, Kind, str, str, Json], None]


class Portal:
    def __init__(self, portal_id: int, clock: Clock, config: Config, tell: Tell) -> None:
        self.id = portal_id
        self.clock = clock
        self.config = config
        self._tell = tell
        self.random = Random(portal_id)
        self.tables: dict[str, Table] = {}
        self.schemas: dict[str, Json] = {}
        self.links = Links()
        self.imports = Imports()
        self.owners = [owner(number, *name, iso(clock.now())) for number, name in enumerate(_PEOPLE)]
        self.pipelines: dict[str, list[Json]] = {"deals": [_sales_pipeline()], "tickets": [_support_pipeline()]}
        self.built_in = [self.add_table(kind, default_definitions(kind.name)) for kind in BUILT_IN]

    def add_table(self, kind: Kind, definitions: list[Json]) -> Table:
        """Every type starts at the same id: in HubSpot an id is unique within its type only, and a client should feel it."""
        table = Table(kind, definitions, FIRST_ID + self.id % 1_000, self.random)
        for alias in kind.aliases:
            self.tables[alias.lower()] = table
        return table

    def table(self, object_type: str) -> Table:
        found = self.tables.get(object_type) or self.tables.get(object_type.lower())
        if found is None:
            raise error(400, f"Unable to infer object type from: {object_type}")
        return found

    def every_table(self) -> list[Table]:
        return list({id(table): table for table in self.tables.values()}.values())

    def tell(self, table: Table, word: str, record_id: str, source: str, **details: Any) -> None:
        """Tells subscribers; without a source nobody did it, and nothing is told."""
        if source:
            self._tell(self.id, table.kind, word, source, {"objectId": int(record_id), **details})

    def tell_link(self, ends: tuple[Table, str], others: tuple[Table, str], source: str, *, removed: bool = False) -> None:
        """Both ends tell of an association, each from its own side."""
        for (table, record_id), (other, other_id) in ((ends, others), (others, ends)):
            self.tell(
                table,
                "associationChange",
                record_id,
                source,
                associationType=f"{table.kind.code}_TO_{other.kind.code}",
                fromObjectId=int(record_id),
                toObjectId=int(other_id),
                associationRemoved=removed,
                isPrimaryAssociation=False,
            )

    def url(self, table: Table, record_id: str) -> str:
        return f"https://app.hubspot.com/contacts/{self.id}/record/{table.kind.type_id}/{record_id}"


def owner(number: int, first: str, last: str, stamp: str) -> Json:
    return {
        "id": str(32_900_489 + number),
        "email": f"{first}.{last}@sandbox.example".lower(),
        "type": "PERSON",
        "firstName": first,
        "lastName": last,
        "userId": USER_ID + number,
        "userIdIncludingInactive": USER_ID + number,
        "createdAt": stamp,
        "updatedAt": stamp,
        "archived": False,
    }


_EPOCH = {"createdAt": "1970-01-01T00:00:00Z", "updatedAt": "1970-01-01T00:00:00Z", "archived": False}


def _sales_pipeline() -> Json:
    stages = [_stage(key, label, place, probability) for place, (key, label, probability) in enumerate(_STAGES)]
    return {"label": "Sales Pipeline", "displayOrder": 0, "id": "default", "stages": stages, **_EPOCH}


def _stage(key: str, label: str, place: int, probability: str) -> Json:
    metadata: dict[str, Any] = {"isClosed": str(key.startswith("closed")).lower(), "probability": probability}
    return {
        "label": label,
        "displayOrder": place,
        "metadata": metadata,
        "id": key,
        "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
        **_EPOCH,
    }


def _support_pipeline() -> Json:
    names = ("New", "Waiting on contact", "Waiting on us", "Closed")
    stages = [
        {
            "label": label,
            "displayOrder": place,
            "metadata": {"ticketState": "CLOSED" if label == "Closed" else "OPEN"},
            "id": str(place + 1),
            "writePermissions": "CRM_PERMISSIONS_ENFORCEMENT",
            **_EPOCH,
        }
        for place, label in enumerate(names)
    ]
    return {"label": "Support Pipeline", "displayOrder": 0, "id": "0", "stages": stages, **_EPOCH}
