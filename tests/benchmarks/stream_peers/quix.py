"""A topic's customers and licences into PostgreSQL with quixstreams: two of its PostgreSQL sinks that upsert.

Arguments: broker, topic, messages, and how many it collects before it writes and commits; 0: those of five seconds, as it does by
itself. Of what it collected it writes the last of each customer. Prints the seconds from the first message to the last commit.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink

COLUMNS = {
    "Id": "salesforce_id",
    "Name": "name",
    "AccountManager": "account_manager",
    "SalesEngineerId": "sales_engineer_id",
    "SignedTos": "signed_tos",
}
PRODUCTS = 3
begun: list[float] = []


def main(broker: str, topic: str, messages: int, commit_every: int) -> None:
    application = Application(
        broker_address=broker,
        consumer_group=f"quix-{topic}-{commit_every}",
        auto_offset_reset="earliest",
        commit_every=commit_every,
        loglevel="WARNING",
    )
    told = application.dataframe(application.topic(topic, value_deserializer="json")).apply(clocked)
    told.apply(customer).sink(sink("quix_customer", "salesforce_id"))
    told.apply(licences, expand=True).sink(sink("quix_license", "customer", "sku"))
    application.run(count=messages * (1 + PRODUCTS))  # it counts what comes out
    print(time.perf_counter() - begun[0])


def clocked(told: dict[str, Any]) -> dict[str, Any]:
    if not begun:
        begun.append(time.perf_counter())
    return told


def customer(told: Mapping[str, Any]) -> dict[str, Any]:
    return {column: told[name] for name, column in COLUMNS.items()}


def licences(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(_licences(told))


def _licences(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, value in told.items():
        if name.startswith("SKU"):
            yield {"customer": told["Id"], "sku": name, "active": value}


def sink(table: str, *key: str) -> Any:
    there = conninfo_to_dict(os.environ["DATABASE_URL"])
    return PostgreSQLSink(
        **{name: there.get(name) or "" for name in ("host", "dbname", "user", "password")},
        port=there.get("port") or 5432,
        table_name=table,
        primary_key_columns=list(key),
        upsert_on_primary_key=True,
        include_metadata=False,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
