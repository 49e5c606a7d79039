"""The settings of a connection, and what librdkafka is told because of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from syncline.contract import ConfigError, Session

DEAD: Final = ".dlq"
SETTINGS: Final = {
    "type": "object",
    "properties": {
        "bootstrap_servers": {
            "type": "string",
            "title": "Brokers",
            "description": "host:port of one or several brokers, with commas between them; they name the others.",
            "pattern": r"^\s*[^\s,:]+:\d+(\s*,\s*[^\s,:]+:\d+)*\s*$",
        },
        "security_protocol": {
            "type": "string",
            "title": "Security protocol",
            "description": "With SASL choose the log-in by user and password as well.",
            "enum": ["PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT"],
            "default": "PLAINTEXT",
        },
        "sasl_mechanism": {
            "type": "string",
            "title": "SASL mechanism",
            "enum": ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"],
            "default": "SCRAM-SHA-512",
        },
        "ca_pem": {
            "type": "string",
            "title": "Certificate authority",
            "description": "PEM text, where the brokers' certificates are signed by none that the machine knows.",
            "default": "",
        },
        "topics": {
            "type": "string",
            "title": "Topics offered",
            "description": "Regular expression that a topic's whole name must match. Empty: all but Kafka's own.",
            "format": "regex",
            "default": "",
        },
        "new_topics": {
            "type": "string",
            "title": "New topics",
            "description": "name:partitions, with commas between them. Offered at once, created when a sync first uses them.",
            "pattern": r"^\s*([\w.-]+(:[1-9]\d{0,3})?\s*(,\s*[\w.-]+(:[1-9]\d{0,3})?\s*)*)?$",
            "default": "",
        },
        "schemas": {
            "type": "string",
            "title": "JSON Schemas",
            "description": 'JSON of the form {"topic": {"properties": {…}}}. A topic that is not named is known by a sample.',
            "default": "",
        },
        "sample": {
            "type": "integer",
            "title": "Sample",
            "description": "Newest messages that are read of each partition to find out what a topic's messages hold.",
            "minimum": 0,
            "maximum": 1000,
            "default": 50,
        },
        "group_id": {
            "type": "string",
            "title": "Consumer group for lag tools",
            "description": "Positions are published under it. Syncline itself never reads them.",
            "default": "",
        },
    },
    "required": ["bootstrap_servers"],
    "additionalProperties": False,
}
LOGIN: Final = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "title": "User", "minLength": 1},
        "password": {"type": "string", "title": "Password", "minLength": 1, "writeOnly": True},
    },
    "required": ["username", "password"],
    "additionalProperties": False,
}


def librdkafka(session: Session) -> dict[str, Any]:
    """Where the brokers are and how one signs in. Holds secrets."""
    given = session.settings
    told: dict[str, Any] = {
        "bootstrap.servers": given["bootstrap_servers"],
        "client.id": f"syncline-{session.installation}",
        "security.protocol": given.get("security_protocol", "PLAINTEXT"),
        "reconnect.backoff.max.ms": 1000,
        "socket.keepalive.enable": True,
        "log_level": 2,  # what goes wrong is told by errors
    }
    if given.get("ca_pem"):
        told["ssl.ca.pem"] = given["ca_pem"]
    if told["security.protocol"].startswith("SASL"):
        told["sasl.mechanism"] = given.get("sasl_mechanism", "SCRAM-SHA-512")
        told |= {f"sasl.{name}": session.credentials().get(name, "") for name in ("username", "password")}
        if not told["sasl.username"]:
            raise ConfigError("The security protocol asks for a log-in. Log in by user and password, or choose another protocol.")
    return told


def new_topics(settings: Mapping[str, Any]) -> dict[str, int]:
    """Name → partitions of the topics that may be created."""
    named = [one.strip().partition(":") for one in str(settings.get("new_topics", "")).split(",")]
    return {name: int(partitions or 1) for name, _, partitions in named if name}


def schemas(settings: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    text = settings.get("schemas") or "{}"
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"The setting JSON Schemas is no JSON: {error}. Correct it, or leave it empty.") from None
    if not isinstance(given, dict) or not all(isinstance(one, dict) for one in given.values()):
        raise ConfigError('The setting JSON Schemas must be of the form {"topic": {"properties": {…}}}.')
    return given
