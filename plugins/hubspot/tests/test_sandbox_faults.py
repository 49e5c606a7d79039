"""Faults, counters, the clock, and the process itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

COMPANIES = "/crm/v3/objects/companies"
CREATE = f"{COMPANIES}/batch/create"


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


def create(sandbox: RunningSandbox, count: int = 1) -> requests.Response:
    return sandbox.request("POST", CREATE, {"inputs": [{"properties": {"name": f"C{n}"}} for n in range(count)]})


def written(sandbox: RunningSandbox) -> int:
    return len(sandbox.admin.dump("companies"))


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("429_general", 429),
        ("429_search", 429),
        ("429_daily", 429),
        ("409", 409),
        ("423", 423),
        ("477", 477),
        ("500", 500),
        ("502", 502),
        ("503", 503),
        ("504", 504),
    ],
)
def test_an_answer_instead_of_the_call(sandbox: RunningSandbox, kind: str, status: int) -> None:
    sandbox.admin.fault(kind)
    assert create(sandbox).status_code == status
    assert written(sandbox) == 0
    assert create(sandbox).status_code == 201


def test_both_families_of_429(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("429_general")
    sandbox.admin.fault("429_search")
    assert create(sandbox).json()["policyName"] == "TEN_SECONDLY_ROLLING"
    assert create(sandbox).json()["category"] == "RATE_LIMITS"


def test_a_gateway_answers_html_and_so_may_a_success(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("502")
    assert create(sandbox).headers["Content-Type"].startswith("text/html")
    sandbox.admin.fault("html")
    answer = create(sandbox)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html")
    assert written(sandbox) == 0


def test_477_says_when_to_come_back(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("477", seconds=90)
    assert create(sandbox).headers["Retry-After"] == "90"


def test_a_cut_before_the_write_leaves_nothing(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("cut_before")
    with pytest.raises(requests.ConnectionError):
        create(sandbox)
    assert written(sandbox) == 0


@pytest.mark.parametrize(
    ("partial", "error"), [(False, requests.ConnectionError), (True, requests.exceptions.ChunkedEncodingError)]
)
def test_a_cut_after_the_write_leaves_the_records(sandbox: RunningSandbox, partial: bool, error: type[Exception]) -> None:
    sandbox.admin.fault("cut_after", partial_body=partial)
    with pytest.raises(error):
        create(sandbox, 3)
    assert written(sandbox) == 3
    assert sandbox.admin.counters()["answers"] == {"0": 1}


def test_half_a_batch_and_an_error(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("partial_write_then_500")
    assert create(sandbox, 10).status_code == 500
    assert written(sandbox) == 5


def test_a_success_with_nothing_in_it(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("empty_results")
    answer = create(sandbox, 2)
    assert (answer.status_code, answer.json()["results"]) == (201, [])


def test_a_slow_call_is_carried_out(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("slow", seconds=0.2)
    started = time.monotonic()
    assert create(sandbox).status_code == 201
    assert time.monotonic() - started >= 0.2


def test_a_client_that_gives_up_on_a_slow_call_has_written_all_the_same(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("slow", seconds=0.3)
    body = {"inputs": [{"properties": {"name": "A"}}]}
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(sandbox.url + CREATE, json=body, headers=headers, timeout=0.1)
    time.sleep(0.4)
    assert written(sandbox) == 1


@pytest.mark.parametrize(
    ("rule", "hit"),
    [
        ({"endpoint": "batch_create"}, True),
        ({"endpoint": "list"}, False),
        ({"method": "post"}, True),
        ({"method": "GET"}, False),
        ({"path": "companies/batch/(create|update)$"}, True),
        ({"path": "contacts"}, False),
        ({"portal": 147_000_001}, True),
        ({"portal": 5}, False),
    ],
)
def test_what_a_rule_matches(sandbox: RunningSandbox, rule: dict[str, Any], hit: bool) -> None:
    sandbox.admin.fault("500", **rule)
    assert create(sandbox).status_code == (500 if hit else 201)


def test_skip_and_times(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("500", endpoint="batch_create", skip=1, times=2)
    assert sandbox.request("GET", COMPANIES).status_code == 200
    assert [create(sandbox).status_code for _ in range(4)] == [201, 500, 500, 201]
    assert sandbox.admin.faults()[0]["fired"] == 2


def test_a_rule_for_ever_until_cleared(sandbox: RunningSandbox) -> None:
    sandbox.admin.fault("503", times=0)
    assert [create(sandbox).status_code for _ in range(3)] == [503] * 3
    sandbox.admin.clear_faults()
    assert create(sandbox).status_code == 201


def test_unknown_faults_and_settings_are_refused_with_what_is_known(sandbox: RunningSandbox) -> None:
    with pytest.raises(requests.HTTPError, match="Unknown fault 'odd'; known are 429_general"):
        sandbox.admin.fault("odd")
    with pytest.raises(requests.HTTPError, match="Unknown sandbox settings"):
        sandbox.admin.config(speed=1)


def test_counters(sandbox: RunningSandbox) -> None:
    create(sandbox)
    sandbox.request("GET", COMPANIES)
    sandbox.request("POST", f"{COMPANIES}/search", {})
    sandbox.request("GET", "/crm/v3/properties/companies")
    sandbox.request("POST", "/crm/objects/2026-09/companies/batch/create", {"inputs": []})
    counters = sandbox.admin.counters()
    assert {name: counters[name] for name in ("batch_create", "list", "search", "properties_list")} == {
        "batch_create": 2,
        "list": 1,
        "search": 1,
        "properties_list": 1,
    }
    assert (counters["write_calls"], counters["read_calls"], counters["schema_calls"], counters["total_calls"]) == (2, 2, 1, 5)
    assert counters["answers"] == {"200": 3, "201": 1, "400": 1}
    sandbox.admin.reset_counters()
    assert sandbox.admin.counters()["total_calls"] == 0


def test_seeding_is_quick_and_counts_as_no_call(sandbox: RunningSandbox) -> None:
    started = time.monotonic()
    ids = sandbox.admin.seed("companies", [{"name": f"C{n}", "domain": f"c{n}.example"} for n in range(20_000)])
    assert time.monotonic() - started < 5
    assert (len(set(ids)), sandbox.admin.counters()["total_calls"]) == (20_000, 0)


def test_the_admin_api_changes_records_behind_the_client_s_back(sandbox: RunningSandbox) -> None:
    one, two, three = sandbox.admin.seed("companies", [{"name": "A"}, {"name": "B"}, {"name": "C"}])
    assert sandbox.admin.patch("companies", one, {"name": "Z"})["properties"]["name"] == "Z"
    sandbox.admin.delete("companies", two)
    new = sandbox.admin.merge("companies", three, into=one)
    dumped = {each["id"]: each for each in sandbox.admin.dump("companies")}
    assert dumped[one]["merged_into"] == dumped[three]["merged_into"] == new
    assert dumped[two]["archived"] is True
    assert dumped[two]["merged_into"] is None
    assert [each["properties"]["name"] for each in sandbox.admin.live("companies")] == ["Z"]
    assert [each["id"] for each in sandbox.admin.dump("companies", property="name", value="B")] == [two]
    with pytest.raises(requests.HTTPError, match="No company 5"):
        sandbox.admin.delete("companies", "5")


def test_the_clock_moves_forward_only(sandbox: RunningSandbox) -> None:
    before = sandbox.admin.now()
    assert 100 <= sandbox.admin.advance(100) - before < 105
    with pytest.raises(requests.HTTPError, match="only moves forward"):
        sandbox.admin.advance(-1)


def test_latency(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(latency_ms=150)
    started = time.monotonic()
    sandbox.request("GET", COMPANIES)
    sandbox.admin.config(latency_ms=0)
    assert time.monotonic() - started >= 0.15


def test_it_says_where_it_listens_and_ends_on_sigterm(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    sandbox = RunningSandbox(port_file=port_file).start()
    assert sandbox.url == f"http://127.0.0.1:{port_file.read_text()}"
    sandbox.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{sandbox.url}/_sandbox/clock", timeout=2)


STARTER = """
import time
from syncline_hubspot.sandbox.process import RunningSandbox
print(RunningSandbox().start().url, flush=True)
time.sleep(60)
"""


def test_it_ends_when_a_parent_that_was_killed_leaves_it_behind() -> None:
    parent = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True, env=os.environ)
    with parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert requests.get(f"{url}/_sandbox/clock", timeout=5).ok
        parent.kill()
    assert _gone_within(url, 5)


def _gone_within(url: str, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            requests.get(f"{url}/_sandbox/clock", timeout=1)
        except requests.ConnectionError:
            return True
        time.sleep(0.05)
    return False


def test_a_port_that_is_taken_is_told(sandbox: RunningSandbox) -> None:
    with pytest.raises(RuntimeError, match="ended with code 1 before it listened"):
        RunningSandbox(port=sandbox.url.rpartition(":")[2]).start()
