"""The Kafka connector with a broker that is reached over TLS only: certificates are checked, and what is wrong is said."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from syncline.contract import (
    Change,
    ConfigError,
    HeaderAuth,
    Http,
    Kind,
    Message,
    ObjectType,
    Op,
    Property,
    PullRequest,
    Session,
    Status,
)
from syncline_kafka.connector import Kafka as Connector
from syncline_kafka.sandbox.broker import PASSWORD, USER, ApacheKafka

from tests.services.kafka.jars import NoJars, jars

TOPIC = ObjectType("secured", "secured", (Property("$", "All", Kind.JSON),), {Op.CREATE: 500}, log=True)
CONNECTOR = Connector()
LOGIN = {"username": USER, "password": PASSWORD}


def pair(address: str) -> tuple[str, str]:
    """A certificate for it, which is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker of a test")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), secret.decode()


class Secured(ApacheKafka):
    """Its log-in goes over TLS."""

    authority, _key = pair("127.0.0.1")

    def _properties(self) -> str:
        store = self.home / "broker.pem"
        store.write_text(self._key + self.authority)
        usual = super()._properties().replace("SASL_PLAINTEXT", "SASL_SSL").replace("sasl_plaintext", "sasl_ssl")
        return f"{usual}ssl.keystore.type=PEM\nssl.keystore.location={store}\n"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    try:
        libs = jars()
    except NoJars as why:
        pytest.skip(f"kafka: Apache Kafka needs Java 17 and Maven, but {why}")
    running = Secured(libs, tmp_path_factory.mktemp("secured"))
    running.start()
    yield running
    running.stop()


def session(broker: Secured, credentials: Mapping[str, str] = LOGIN, **settings: Any) -> Session:
    usual = {"bootstrap_servers": broker.sasl_servers, "security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}
    given = {**usual, "new_topics": TOPIC.key, **settings}
    return Session(given, Http(hosts=(), auth=HeaderAuth({})), "tls", logging.getLogger("test"), credentials=lambda: credentials)


def test_messages_go_and_come_where_the_authority_is_known(secured: Secured) -> None:
    ours = session(secured, ca_pem=secured.authority)
    change = Change("1", Op.CREATE, properties={"$": '{"n":1}'}, message=Message(id="1", key="k"))

    [result] = CONNECTOR.push(ours, TOPIC, [change])
    pages = CONNECTOR.pull(ours, TOPIC, PullRequest(properties=("$",), partition="0"))

    assert result.status is Status.CREATED
    assert [one.properties for page in pages for one in page.records] == [{"$": '{"n":1}'}]


@pytest.mark.parametrize("authority", ["", "of somebody else"])
def test_a_broker_whose_certificate_nobody_vouches_for_is_told_nothing(secured: Secured, authority: str) -> None:
    ours = session(secured, ca_pem=pair("127.0.0.1")[0] if authority else "")

    with pytest.raises(ConfigError, match=r"No secure connection to Kafka .* Check protocol and certificate"):
        CONNECTOR.check(ours)


def test_a_certificate_of_another_host_is_not_believed(secured: Secured) -> None:
    elsewhere = secured.sasl_servers.replace("127.0.0.1", "localhost")

    with pytest.raises(ConfigError, match=r"No secure connection to Kafka .*"):
        CONNECTOR.check(session(secured, ca_pem=secured.authority, bootstrap_servers=elsewhere))
