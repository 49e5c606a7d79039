"""A Salesforce account that only tells, a broker, and the two continuous syncs between them and the licences."""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.contrib.auth.models import User
from syncline.catalog import service as catalog
from syncline.connections import service as connections
from syncline.connections.models import Connection
from syncline.inbox import addresses
from syncline.inbox.log import KEY
from syncline.syncs import publish
from syncline.syncs.models import FieldRule, Sync
from syncline_licensing.models import Sku

TOPIC = "customer-changes"
PARTITIONS = 3
ADDRESS = "salesforce/webhook"
PRODUCTS = ("SKU1", "SKU2", "SKU3")
SCHEMA = {
    "properties": {
        **{name: {"type": "string"} for name in ("Id", "Name", "AccountManager", "SalesEngineerId")},
        "SignedTos": {"type": "boolean"},
    }
}
RULES = {
    "salesforce_id": "Id",
    "name": "Name",
    "account_manager": "AccountManager",
    "sales_engineer_id": "SalesEngineerId",
    "signed_tos": "SignedTos",
    "flags": "$",
}


@dataclass(frozen=True, slots=True)
class Scene:
    told: Connection
    broker: Connection
    relay: Sync
    stream: Sync


def make(user: User, bootstrap_servers: str, topic: str = TOPIC, partitions: int = PARTITIONS) -> Scene:
    for code in PRODUCTS:
        Sku.objects.get_or_create(code=code, defaults={"name": f"Product {code[-1]}"})
    told, broker = _source(user), _broker(user, bootstrap_servers, topic, partitions)
    relay = _sync(
        Sync(
            name="Salesforce to topic",
            connection=broker,
            dataset=KEY,
            object_type=topic,
            source=told,
            direction=Sync.Direction.PUSH,
            continuous=True,
            created_by=user,
        ),
        {"data": "$"},
        user,
    )
    stream = _sync(
        Sync(
            name="Topic to licences",
            connection=broker,
            dataset="licensing.customer",
            object_type=topic,
            direction=Sync.Direction.PULL,
            continuous=True,
            created_by=user,
        ),
        RULES,
        user,
    )
    return Scene(told, broker, relay, stream)


def _source(user: User) -> Connection:
    """Nobody signs in: it is never called, only listened to."""
    made = Connection.objects.create(
        connector="salesforce", name="Salesforce", owner=user, settings={"instance_url": "https://example.my.salesforce.com"}
    )
    addresses.add_alias(addresses.make(made), ADDRESS)
    return made


def _broker(user: User, servers: str, topic: str, partitions: int) -> Connection:
    settings = {
        "bootstrap_servers": servers,
        "new_topics": f"{topic}:{partitions}",
        "schemas": json.dumps({topic: SCHEMA}),
    }
    made = Connection.objects.create(connector="kafka", name="Kafka", owner=user, settings=settings)
    connections.connect(made, "none", {})
    made.refresh_from_db()
    catalog.refresh(made)
    return made


def _sync(sync: Sync, rules: dict[str, str], user: User) -> Sync:
    sync.save()
    for position, (field, target) in enumerate(rules.items(), 1):
        FieldRule.objects.create(sync=sync, position=position, source=field, target=target)
    publish.publish(sync, user)
    sync.refresh_from_db()
    return sync
