"""Rate limits: pools, headers, the two families of 429, the day."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

COMPANIES = "/crm/v3/objects/companies"
SEARCH = f"{COMPANIES}/search"
LINKS = "/crm/v4/associations/contacts/companies/batch/read"
DEFAULTS = {"limits": True, "burst": 190, "search_per_second": 5, "associations_burst": 150, "daily": 625_000, "oauth_burst": 110}


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    running.admin.config(**DEFAULTS)
    return running


def limit_headers(answer: requests.Response) -> dict[str, str]:
    prefix = "x-hubspot-ratelimit-"
    return {name.lower().removeprefix(prefix): value for name, value in answer.headers.items() if name.lower().startswith(prefix)}


def search(sandbox: RunningSandbox) -> requests.Response:
    return sandbox.request("POST", SEARCH, {"filterGroups": []})


def oauth_token(sandbox: RunningSandbox) -> str:
    query = {"client_id": "sandbox-client", "redirect_uri": "http://127.0.0.1/", "scope": "crm.objects.companies.read"}
    back = requests.get(f"{sandbox.url}/oauth/authorize", params=query, allow_redirects=False, timeout=10).headers["Location"]
    form = {"client_id": "sandbox-client", "client_secret": "sandbox-secret", "redirect_uri": "http://127.0.0.1/"}
    form |= {"grant_type": "authorization_code", "code": back.partition("code=")[2]}
    return str(requests.post(f"{sandbox.url}/oauth/v3/token", data=form, timeout=10).json()["access_token"])


def test_the_burst_of_ten_seconds(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(burst=20)
    answers = [sandbox.request("GET", COMPANIES) for _ in range(21)]
    assert [each.status_code for each in answers] == [200] * 20 + [429]
    body = answers[-1].json()
    assert (body["errorType"], body["policyName"]) == ("RATE_LIMIT", "TEN_SECONDLY_ROLLING")
    assert body["message"] == "You have reached your ten_secondly_rolling limit."
    assert "category" not in body
    assert "Retry-After" not in answers[-1].headers
    sandbox.admin.advance(10)
    assert sandbox.request("GET", COMPANIES).status_code == 200


def test_the_window_rolls(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(burst=2)
    assert sandbox.request("GET", COMPANIES).status_code == 200
    sandbox.admin.advance(6)
    assert sandbox.request("GET", COMPANIES).status_code == 200
    sandbox.admin.advance(5)
    assert [sandbox.request("GET", COMPANIES).status_code for _ in range(2)] == [200, 429]


def test_headers_of_a_private_token(sandbox: RunningSandbox) -> None:
    assert limit_headers(sandbox.request("GET", COMPANIES)) == {
        "max": "190",
        "remaining": "189",
        "interval-milliseconds": "10000",
        "secondly": "19",
        "secondly-remaining": "18",
        "daily": "625000",
        "daily-remaining": "624999",
    }


def test_errors_carry_the_headers_too(sandbox: RunningSandbox) -> None:
    assert limit_headers(sandbox.request("GET", f"{COMPANIES}/1"))["remaining"] == "189"


def test_an_oauth_app_has_less_in_ten_seconds_and_no_day(sandbox: RunningSandbox) -> None:
    token = oauth_token(sandbox)
    headers = limit_headers(sandbox.request("GET", COMPANIES, token=token))
    assert (headers["max"], headers["remaining"], headers["secondly"]) == ("110", "109", "11")
    assert not [name for name in headers if name.startswith("daily")]
    sandbox.admin.config(daily=1, oauth_burst=3)
    assert [sandbox.request("GET", COMPANIES, token=token).status_code for _ in range(3)] == [200, 200, 429]
    assert sandbox.request("GET", COMPANIES).status_code == 200  # another app of the account, whose day is not over


def test_answers_to_associations_tell_of_the_day_only(sandbox: RunningSandbox) -> None:
    assert set(limit_headers(sandbox.request("POST", LINKS, {"inputs": []}))) == {"daily", "daily-remaining"}


def test_search_has_its_own_second_and_its_own_429(sandbox: RunningSandbox) -> None:
    answers = [search(sandbox) for _ in range(6)]
    assert [each.status_code for each in answers] == [200] * 5 + [429]
    body = answers[-1].json()
    assert (body["category"], body["message"]) == ("RATE_LIMITS", "You have reached your secondly limit.")
    assert not {"errorType", "policyName"} & set(body)
    assert set(limit_headers(answers[0])) == {"daily", "daily-remaining"}
    sandbox.admin.advance(1)
    assert search(sandbox).status_code == 200


def test_search_does_not_count_in_the_burst(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(burst=1)
    assert search(sandbox).status_code == 200
    assert sandbox.request("GET", COMPANIES).status_code == 200


def test_associations_have_a_pool_of_their_own(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(burst=1, associations_burst=2)
    codes = [sandbox.request("POST", LINKS, {"inputs": []}).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    assert sandbox.request("GET", COMPANIES).status_code == 200


def test_the_day(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(daily=2)
    answers = [sandbox.request("GET", COMPANIES) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert answers[-1].json()["policyName"] == "DAILY"
    sandbox.admin.advance(86_400)
    assert sandbox.request("GET", COMPANIES).status_code == 200


def test_limits_can_be_switched_off(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(limits=False, burst=1)
    answers = [sandbox.request("GET", COMPANIES) for _ in range(3)]
    assert [each.status_code for each in answers] == [200] * 3
    assert limit_headers(answers[0]) == {}


def test_calls_refused_are_counted_and_told(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(burst=1)
    for _ in range(3):
        sandbox.request("GET", COMPANIES)
    counters = sandbox.admin.counters()
    assert (counters["list"], counters["read_calls"], counters["answers_429"]) == (3, 3, 2)


def test_accounts_do_not_share_a_budget(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(burst=1)
    other = sandbox.admin.issue_token(portal=9)
    assert sandbox.request("GET", COMPANIES).status_code == 200
    assert sandbox.request("GET", COMPANIES, token=other).status_code == 200
