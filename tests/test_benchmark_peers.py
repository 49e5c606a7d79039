"""What the pull's benchmark says where the other tools are not installed, and what it sends them to."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import requests

from tests.benchmarks import peers, stream_libraries

pytestmark = pytest.mark.unit
OURS = {"records_per_s": 3000}


@pytest.fixture(autouse=True)
def _django(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.harness.BENCHMARKS", [])


def beside(*names: str) -> dict[str, Any]:
    from tests.benchmarks.bench_pull import beside as under_test

    measured: dict[str, dict[str, Any]] = {name: {"records_per_s": 400} for name in names}
    return under_test(OURS, measured, measured)


def test_what_is_not_installed_is_left_out_and_it_says_how_to_get_it() -> None:
    told = beside("airbyte-source-hubspot")

    assert told["ratio_to_airbyte"] == 7.5
    assert "ratio_to_meltano" not in told
    assert told["left_out"] == "meltano-tap-hubspot: make bench-peers"


def test_with_both_nothing_is_left_out() -> None:
    told = beside(*(peer.name for peer in peers.ALL))

    assert (told["ratio_to_airbyte"], told["ratio_to_meltano"]) == (7.5, 7.5)
    assert told["all_properties"]["meltano-tap-hubspot"]["ratio"] == 7.5
    assert "left_out" not in told


def test_every_peer_has_its_exact_version_in_the_file_that_is_installed() -> None:
    pinned = dict(line.split("==") for line in (peers.HERE / "peers.txt").read_text().split())

    named = {name.partition("[")[0] for name in pinned}
    assert named == {*(peer.name for peer in peers.ALL), "django-kafka", "quixstreams", "psycopg"}
    assert {library.package.replace("_", "-") for library in stream_libraries.ALL} <= named


def printing(lines: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", f"print({lines!r}, flush=True); input()"], stdout=-1, stdin=-1)


def test_only_records_count_and_reading_ends_with_the_last_that_is_wanted() -> None:
    record = '{"type":"RECORD","stream":"companies"}'
    with printing("\n".join(['{"type":"SCHEMA"}', record, '{"type":"STATE"}', record, record])) as process:
        try:
            assert len(list(peers._records(process, 2))) == 2
            assert peers._ended(process) > 0
        finally:
            process.kill()


class TestRedirect:
    @pytest.fixture
    def sent(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", requests.adapters.HTTPAdapter.send)
        monkeypatch.setenv("HUBSPOT_SANDBOX", "http://127.0.0.1:1")
        from tests.benchmarks.redirect import sitecustomize

        sent: list[str] = []

        def answer(_self: object, request: requests.PreparedRequest, **_: Any) -> requests.Response:
            sent.append(request.url or "")
            response = requests.Response()
            unknown = sent[-1].endswith("/unknown")
            response.status_code, response._content = (400, b"{}") if unknown else (200, b'{"results": [{"name": "domain"}]}')
            return response

        monkeypatch.setattr(sitecustomize, "send", answer)
        monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", sitecustomize.redirected)
        return sent

    def test_calls_go_to_the_sandbox_with_their_query(self, sent: list[str]) -> None:
        requests.get("https://api.hubapi.com/crm/v3/objects/companies?limit=100", timeout=1)

        assert sent == ["http://127.0.0.1:1/crm/v3/objects/companies?limit=100"]

    def test_the_old_list_of_properties_is_made_of_the_new_one(self, sent: list[str]) -> None:
        answer = requests.get("https://api.hubapi.com/properties/v2/company/properties", timeout=1)

        assert sent == ["http://127.0.0.1:1/crm/v3/properties/company"]
        assert answer.json() == [{"name": "domain"}]

    def test_an_object_that_the_sandbox_lacks_is_one_that_may_not_be_read(self, sent: list[str]) -> None:
        assert requests.get("https://api.hubapi.com/crm/v3/properties/unknown", timeout=1).status_code == 403
