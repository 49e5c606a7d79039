"""The connector's calls against recorded answers: what it sends, byte for byte, and what it makes of the answers.

The cassettes were recorded from this package's sandbox, not from HubSpot; the first line of each says so. Record them again
with `SYNCLINE_RECORD=1 pytest plugins/hubspot/tests/test_connector_cassettes.py`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import vcr
from syncline.contract import (
    Association,
    AuthError,
    Change,
    Code,
    ConfigError,
    HeaderAuth,
    Http,
    Kind,
    ObjectType,
    Op,
    Property,
    PullRequest,
    Session,
    Status,
)
from syncline_hubspot.connector import HubSpot
from syncline_hubspot.properties import KEY
from syncline_hubspot.sandbox.process import RunningSandbox
from vcr.serializers import yamlserializer

HUB = HubSpot()
FOLDER = Path(__file__).parent / "cassettes"
RECORDING = os.environ.get("SYNCLINE_RECORD") == "1"
API = "https://api.hubapi.com"
MARK = "# Recorded from the HubSpot sandbox of this package, not from HubSpot.\n"
COMPANIES = ObjectType(
    "companies",
    "Companies",
    (Property("name", "Name"), Property("annualrevenue", "Revenue", Kind.NUMBER)),
    {},
    unique_key=KEY.name,
)
CONTACTS = ObjectType("contacts", "Contacts", (Property("email", "Email", Kind.EMAIL, unique=True),), {})


class Marked:
    """The YAML serializer, with a first line that says where the recording comes from."""

    @staticmethod
    def serialize(cassette: Any) -> str:
        return MARK + str(yamlserializer.serialize(cassette))

    @staticmethod
    def deserialize(text: str) -> Any:
        return yamlserializer.deserialize(text)


def at_hubspot(request: Any) -> Any:
    """As if it had gone to HubSpot: the sandbox's port is another one each time. Its admin API is not recorded."""
    parts = urlsplit(request.uri)
    if parts.path.startswith("/_sandbox"):
        return None
    request.uri = urlunsplit(("https", "api.hubapi.com", parts.path, parts.query, ""))
    return request


def tape() -> Any:
    recorder = vcr.VCR(
        cassette_library_dir=str(FOLDER),
        record_mode="all" if RECORDING else "none",
        match_on=["method", "host", "path", "query", "raw_body"],
        filter_headers=["Authorization", "User-Agent", "Accept-Encoding"],
        before_record_request=at_hubspot,
        decode_compressed_response=True,
        serializer="marked",
    )
    recorder.register_serializer("marked", Marked)
    return recorder


@contextmanager
def playing(name: str, version: str = "2026-09", token: str = "") -> Iterator[Session]:
    """A session over the cassette; when recording, over a fresh sandbox."""
    if not RECORDING:
        with tape().use_cassette(f"{name}.yaml") as cassette:
            yield session(API, version, token or "any")
            assert cassette.all_played
        return
    (FOLDER / f"{name}.yaml").unlink(missing_ok=True)
    with RunningSandbox(limits=False, index_lag=0) as sandbox, tape().use_cassette(f"{name}.yaml"):
        yield session(sandbox.url, version, token or sandbox.token)


def session(url: str, version: str, token: str) -> Session:
    http = Http(
        hosts=("127.0.0.1", "api.hubapi.com"), auth=HeaderAuth({"Authorization": f"Bearer {token}"}), sleep=lambda _: None
    )
    settings = {"api_version": version, "api_url": url, "app_url": url, "own_key": True}
    return Session(settings=settings, http=http, installation="test", log=logging.getLogger("test.hubspot"))


def upsert(key: str, **properties: Any) -> Change:
    return Change(key, Op.UPSERT, unique_key=f"test:companies.company:{key}", properties=properties)


@pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])
def test_writes_and_reads(version: str) -> None:
    with playing(f"writes_and_reads_{version}", version) as hubspot:
        bare = ObjectType("companies", "Companies", (), {})
        assert HUB.create_properties(session=hubspot, object_type=bare, properties=[KEY]) == [KEY.name]
        changes = [upsert("1", name="Ünïcode", annualrevenue=12), upsert("2", name="Two"), upsert("3", name=None)]
        made = {r.local_key: r for r in HUB.push(session=hubspot, object_type=COMPANIES, changes=changes)}
        assert [made[key].status for key in "12"] == [Status.CREATED, Status.CREATED]
        refused = made["3"].error
        assert refused is not None
        assert refused.code is Code.REQUIRED
        ids = [made[key].remote_id or "" for key in "12"]
        person = Change("p", Op.CREATE, properties={"email": "a@x.io"})
        (contact,) = HUB.push(session=hubspot, object_type=CONTACTS, changes=[person])
        ends = tuple(Association("companies", end) for end in ids)
        link = Change("p", Op.ASSOCIATE, remote_id=contact.remote_id, associations=ends)
        assert HUB.push(session=hubspot, object_type=CONTACTS, changes=[link])[0].status is Status.UPDATED
        (page,) = HUB.pull(session=hubspot, object_type=COMPANIES, request=PullRequest(("name", "annualrevenue")))
        assert {r.id: r.properties["annualrevenue"] for r in page.records} == {ids[0]: 12, ids[1]: None}
        archived = HUB.push(session=hubspot, object_type=COMPANIES, changes=[Change("2", Op.ARCHIVE, remote_id=ids[1])])
        assert archived[0].status is Status.UPDATED
        found = HUB.fetch(session=hubspot, object_type=COMPANIES, ids=ids, properties=["name"], associations=(), history=())
        assert {key: record.properties["name"] for key, record in found.items()} == {ids[0]: "Ünïcode"}
        matched = HUB.match(session=hubspot, object_type=CONTACTS, step="email", values=["a@x.io", "b@x.io"])
        assert dict(matched) == {"a@x.io": [contact.remote_id], "b@x.io": []}


def test_refusals() -> None:
    with playing("refusals") as hubspot:
        changes = [
            Change("wrong", Op.CREATE, properties={"name": "A", "no_such_property": "1"}),
            Change("choice", Op.CREATE, properties={"name": "B", "industry": "NOPE"}),
            Change("good", Op.CREATE, properties={"name": "C"}),
        ]
        results = {r.local_key: r for r in HUB.push(session=hubspot, object_type=COMPANIES, changes=changes)}
        assert results["good"].status is Status.CREATED
        codes = {key: result.error.code for key, result in results.items() if result.error}
        assert codes == {"wrong": Code.UNKNOWN_PROPERTY, "choice": Code.INVALID_CHOICE}
        with pytest.raises(ConfigError, match="syncline_key"):
            HUB.push(session=hubspot, object_type=COMPANIES, changes=[upsert("1", name="A"), upsert("2", name="B")])


def test_a_wrong_token() -> None:
    with playing("wrong_token", token="no-such-token") as hubspot, pytest.raises(AuthError):
        HUB.check(session=hubspot)


def test_no_cassette_holds_a_token_and_each_says_where_it_is_from() -> None:
    found = sorted(FOLDER.glob("*.yaml"))
    assert len(found) == 5
    for cassette in found:
        text = cassette.read_text(encoding="utf-8")
        assert text.startswith(MARK)
        assert "uthorization:" not in text
        assert "Bearer" not in text
        assert "127.0.0.1" not in text
