"""A topic's customers and licences into PostgreSQL with django-kafka: a consumer of a topic that upserts by Django's models.

It hands over one message after the other, and stores the offset after each. Arguments: broker, topic, messages. Prints the
seconds from the first message to the last commit.
"""

from __future__ import annotations

import json
import os
import sys
import time
from threading import Event
from typing import Any, ClassVar

import django
from django.conf import settings
from django.db import connection, models, transaction
from psycopg.conninfo import conninfo_to_dict

BROKER, TOPIC, MESSAGES = sys.argv[1], sys.argv[2], int(sys.argv[3])
there = conninfo_to_dict(os.environ["DATABASE_URL"])
PLACE = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user", "PASSWORD": "password"}
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **{n: there.get(told) or "" for n, told in PLACE.items()}}},
    INSTALLED_APPS=["django_kafka"],
    DJANGO_KAFKA={"GLOBAL_CONFIG": {"bootstrap.servers": BROKER}},
)
django.setup()

from django_kafka.consumer import Consumer, Topics  # noqa: E402 - wants the settings
from django_kafka.topic import TopicConsumer  # noqa: E402

FIELDS = {
    "Name": "name",
    "AccountManager": "account_manager",
    "SalesEngineerId": "sales_engineer_id",
    "SignedTos": "signed_tos",
}


class Customer(models.Model):
    objects: ClassVar[models.Manager[Any]] = models.Manager()
    salesforce_id = models.TextField(primary_key=True)
    name = models.TextField()
    account_manager = models.TextField()
    sales_engineer_id = models.TextField()
    signed_tos = models.BooleanField()

    class Meta:
        app_label = "peer"

    def __str__(self) -> str:
        return self.salesforce_id


class License(models.Model):
    objects: ClassVar[models.Manager[Any]] = models.Manager()
    customer = models.ForeignKey(Customer, models.PROTECT, db_index=False)
    sku = models.TextField()
    active = models.BooleanField()

    class Meta:
        app_label = "peer"
        constraints = [models.UniqueConstraint(fields=["customer", "sku"], name="peer_one_per_product")]

    def __str__(self) -> str:
        return self.sku


class Changes(TopicConsumer):  # type: ignore[misc]
    name = TOPIC

    def consume(self, msg: Any) -> None:
        told = json.loads(msg.value())
        customer = Customer(salesforce_id=told["Id"], **{field: told[name] for name, field in FIELDS.items()})
        held = [License(customer=customer, sku=n, active=v) for n, v in told.items() if n.startswith("SKU")]
        with transaction.atomic():
            Customer.objects.bulk_create(
                [customer], update_conflicts=True, unique_fields=["salesforce_id"], update_fields=FIELDS.values()
            )
            License.objects.bulk_create(held, update_conflicts=True, unique_fields=["customer", "sku"], update_fields=["active"])


class Reader(Consumer):  # type: ignore[misc]
    topics = Topics(Changes())
    config = {"group.id": f"django-{TOPIC}", "auto.offset.reset": "earliest", "enable.auto.offset.store": False}
    seen, begun = 0, 0.0
    end = Event()

    def process_message(self, msg: Any) -> None:
        self.begun = self.begun or time.perf_counter()
        super().process_message(msg)
        self.seen += msg.error() is None
        if self.seen == MESSAGES:
            self.end.set()


if __name__ == "__main__":
    with connection.schema_editor() as editor:
        editor.create_model(Customer)
        editor.create_model(License)
    reader = Reader()
    reader.start(reader.end)
    print(time.perf_counter() - reader.begun)
