"""Kafka's errors → ours, with what to do next."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from syncline.contract import AuthError, ConfigError, Permanent, Retryable, Session, SynclineError

SIGN_IN: Final = frozenset(
    {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM}
)
END_OF_PARTITION: Final = KafkaError._PARTITION_EOF
DENIED: Final = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    }
)
MISSING: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
LATER: Final = frozenset(
    {
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NOT_CONTROLLER,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
    }
)
#: Told by the client about its connections rather than by a broker about a request.
TELLING: Final = SIGN_IN | {KafkaError._SSL, KafkaError._RESOLVE}


class Trouble:
    """What librdkafka tells aside (`error_cb`): why a request finds no broker. The most telling is kept."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if self.last is None or self.last.code() not in TELLING:
            self.last = error


def code_of(error: KafkaException) -> KafkaError:
    told: Any = error.args[0]
    return told if isinstance(told, KafkaError) else KafkaError(KafkaError._FAIL, str(told))


def failure(session: Session, error: KafkaError, what: str) -> SynclineError:
    """The error that `error` stands for when nothing was carried out. `what`: what could not be done, with a verb."""
    code, servers = error.code(), session.settings["bootstrap_servers"]
    if code in SIGN_IN:
        return AuthError(f"Kafka at {servers} refused the log-in. Correct user, password and SASL mechanism of the connection.")
    if code == KafkaError._SSL:
        return ConfigError(f"No secure connection to Kafka at {servers}: {_said(error)} Check protocol and certificate.")
    if code in DENIED:
        return ConfigError(f"Kafka does not let this user {what}: {_said(error)} Have it permitted in the cluster.")
    if code in MISSING:
        return ConfigError(
            f"Kafka could not {what}: there is no such topic or partition. Create it in the cluster, or name it under New topics "
            "in the settings of the connection."
        )
    if error.retriable() or code < 0 or code in LATER:
        return Retryable(f"Kafka at {servers} could not {what}: {_said(error)} It is tried again by itself.", 2.0)
    return Permanent(f"Kafka could not {what}: {_said(error)}")


def _said(error: KafkaError) -> str:
    return f"{error.str().rstrip('. ')} ({error.name()})."
