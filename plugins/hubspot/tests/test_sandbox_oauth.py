"""Tokens: the code flow, refresh, expiry, revocation and scopes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

BACK = "http://127.0.0.1:9/back?from=hub"
VERIFIER = "a-verifier-that-is-long-enough-for-the-specification-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
APP = {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
VERSIONS = ["v1", "v3", "2026-03", "2026-09"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as running:
        yield running


def authorize(sandbox: RunningSandbox, **more: str) -> requests.Response:
    query = {"client_id": "sandbox-client", "redirect_uri": BACK, "scope": "crm.objects.companies.read oauth", "state": "s 1"}
    return requests.get(f"{sandbox.url}/oauth/authorize", params={**query, **more}, allow_redirects=False, timeout=10)


def code_of(answer: requests.Response) -> str:
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


def token(sandbox: RunningSandbox, version: str = "v3", **form: str) -> requests.Response:
    return requests.post(f"{sandbox.url}/oauth/{version}/token", data={**APP, **form}, timeout=10)


def exchange(sandbox: RunningSandbox, code: str, version: str = "v3", **more: str) -> requests.Response:
    return token(sandbox, version, **{"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, **more})


def refresh(sandbox: RunningSandbox, held: str, version: str = "v3") -> requests.Response:
    return token(sandbox, version, grant_type="refresh_token", refresh_token=held)


def status(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["status"]


def test_authorize_sends_the_browser_back_with_code_and_state(sandbox: RunningSandbox) -> None:
    target = urlsplit(authorize(sandbox).headers["Location"])
    query = parse_qs(target.query)
    assert (target.path, query["from"], query["state"]) == ("/back", ["hub"], ["s 1"])
    assert len(query["code"][0]) > 20


def test_a_person_may_be_asked_and_may_refuse(sandbox: RunningSandbox) -> None:
    page = authorize(sandbox, auto_approve="false")
    assert (page.status_code, "Connect app" in page.text) == (200, True)
    denied = parse_qs(urlsplit(authorize(sandbox, deny="true").headers["Location"]).query)
    assert (denied["error"], denied["state"]) == (["access_denied"], ["s 1"])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_code_becomes_tokens(sandbox: RunningSandbox, version: str) -> None:
    answer = exchange(sandbox, code_of(authorize(sandbox)), version)
    body = answer.json()
    assert (answer.status_code, body["expires_in"], body["token_type"]) == (200, 1800, "bearer")
    assert sandbox.request("GET", "/crm/v3/objects/companies", token=body["access_token"]).status_code == 200
    more = {"hub_id", "user_id", "scopes", "token_use"}
    assert more & set(body) == (set() if version == "v1" else more)


def test_a_code_is_good_once(sandbox: RunningSandbox) -> None:
    code = code_of(authorize(sandbox))
    assert exchange(sandbox, code).status_code == 200
    assert status(exchange(sandbox, code)) == (400, "BAD_AUTH_CODE")


def test_a_code_ages(sandbox: RunningSandbox) -> None:
    code = code_of(authorize(sandbox))
    sandbox.admin.advance(61)
    assert status(exchange(sandbox, code)) == (400, "BAD_AUTH_CODE")


def test_the_redirect_uri_must_be_the_same(sandbox: RunningSandbox) -> None:
    code = code_of(authorize(sandbox))
    assert status(exchange(sandbox, code, redirect_uri=BACK + "/")) == (400, "BAD_REDIRECT_URI")


def test_other_machines_are_no_redirect_target(sandbox: RunningSandbox) -> None:
    assert authorize(sandbox, redirect_uri="https://evil.example/back").status_code == 400
    assert authorize(sandbox, client_id="other").status_code == 400


def test_registered_redirect_uris_are_exact() -> None:
    with RunningSandbox(redirect_uri=BACK, client_id="ours", client_secret="own") as sandbox:
        assert authorize(sandbox, client_id="ours").status_code == 302
        assert authorize(sandbox, client_id="ours", redirect_uri=BACK + "x").status_code == 400
        assert authorize(sandbox).status_code == 400


def test_pkce_is_verified_when_a_challenge_was_sent(sandbox: RunningSandbox) -> None:
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    assert status(exchange(sandbox, code_of(authorize(sandbox, **asked)))) == (400, "BAD_CODE_VERIFIER")
    wrong = exchange(sandbox, code_of(authorize(sandbox, **asked)), code_verifier=VERIFIER + "x")
    assert status(wrong) == (400, "BAD_CODE_VERIFIER")
    assert exchange(sandbox, code_of(authorize(sandbox, **asked)), code_verifier=VERIFIER).status_code == 200
    assert authorize(sandbox, code_challenge="x", code_challenge_method="plain").status_code == 400


def test_the_client_must_be_known(sandbox: RunningSandbox) -> None:
    code = code_of(authorize(sandbox))
    assert status(exchange(sandbox, code, client_secret="wrong")) == (400, "BAD_CLIENT_SECRET")
    assert status(exchange(sandbox, code, client_id="wrong")) == (400, "BAD_CLIENT_ID")
    assert status(token(sandbox, grant_type="password")) == (400, "BAD_GRANT_TYPE")


@pytest.mark.parametrize("version", VERSIONS)
def test_refresh_gives_a_new_access_token_and_keeps_the_refresh_token(sandbox: RunningSandbox, version: str) -> None:
    first = exchange(sandbox, code_of(authorize(sandbox))).json()
    second = refresh(sandbox, first["refresh_token"], version).json()
    assert second["refresh_token"] == first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    bad = refresh(sandbox, "nonsense", version)
    assert (bad.json()["error"], bad.json()["status"]) == ("invalid_grant", "BAD_REFRESH_TOKEN")


def test_an_access_token_expires_on_the_sandbox_s_clock(sandbox: RunningSandbox) -> None:
    held = exchange(sandbox, code_of(authorize(sandbox))).json()
    sandbox.admin.advance(1_799)
    assert sandbox.request("GET", "/crm/v3/objects/companies", token=held["access_token"]).status_code == 200
    sandbox.admin.advance(2)
    answer = sandbox.request("GET", "/crm/v3/objects/companies", token=held["access_token"])
    assert (answer.status_code, answer.json()["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert answer.json()["context"]["expire time"][0].startswith("20")
    renewed = refresh(sandbox, held["refresh_token"]).json()["access_token"]
    assert sandbox.request("GET", "/crm/v3/objects/companies", token=renewed).status_code == 200


def test_a_chosen_lifetime(sandbox: RunningSandbox) -> None:
    sandbox.admin.config(token_lifetime_s=5)
    assert exchange(sandbox, code_of(authorize(sandbox))).json()["expires_in"] == 5
    sandbox.admin.config(token_lifetime_s=1800)


def test_no_token_and_no_such_token(sandbox: RunningSandbox) -> None:
    path = f"{sandbox.url}/crm/v3/objects/companies"
    assert requests.get(path, timeout=10).json()["category"] == "INVALID_AUTHENTICATION"
    assert sandbox.request("GET", "/crm/v3/objects/companies", token="pat-eu1-x").json()["category"] == "INVALID_AUTHENTICATION"
    nonsense = sandbox.request("GET", "/crm/v3/objects/companies", token="nonsense")
    assert nonsense.status_code == 401
    assert nonsense.json()["context"]["expire time"] == ["1970-01-01T00:00:00Z"]


def test_introspection(sandbox: RunningSandbox) -> None:
    held = exchange(sandbox, code_of(authorize(sandbox, portal="77"))).json()
    url = f"{sandbox.url}/oauth/v3/token/introspect"
    access = requests.post(url, data={**APP, "token": held["access_token"]}, timeout=10).json()
    assert (access["active"], access["hub_id"], access["token_use"]) == (True, 77, "access_token")
    assert access["expires_in"] in (1799, 1800)
    again = requests.post(url, data={**APP, "token": held["refresh_token"]}, timeout=10).json()
    assert (again["active"], again["token_use"]) == (True, "refresh_token")
    assert requests.post(url, data={**APP, "token": "x"}, timeout=10).json() == {"active": False, "token": "x"}
    old = requests.get(f"{sandbox.url}/oauth/v1/access-tokens/{held['access_token']}", timeout=10).json()
    assert (old["hub_id"], old["scopes"]) == (77, ["crm.objects.companies.read", "oauth"])
    assert requests.get(f"{sandbox.url}/oauth/v1/access-tokens/{sandbox.token}", timeout=10).status_code == 404


def test_private_token_info(sandbox: RunningSandbox) -> None:
    info = sandbox.request("POST", "/oauth/v2/private-apps/get/access-token-info", {"tokenKey": sandbox.token})
    assert info.json()["hubId"] == 147_000_001
    assert "crm.objects.companies.write" in info.json()["scopes"]
    assert sandbox.request("POST", "/oauth/v2/private-apps/get/access-token-info", {"tokenKey": "x"}).status_code == 404


def test_revoking(sandbox: RunningSandbox) -> None:
    held = exchange(sandbox, code_of(authorize(sandbox))).json()
    requests.post(f"{sandbox.url}/oauth/v3/token/revoke", data={**APP, "token": held["refresh_token"]}, timeout=10)
    assert sandbox.request("GET", "/crm/v3/objects/companies", token=held["access_token"]).status_code == 401
    assert status(refresh(sandbox, held["refresh_token"])) == (400, "BAD_REFRESH_TOKEN")


def test_the_admin_api_revokes_an_account_s_grants(sandbox: RunningSandbox) -> None:
    ours = exchange(sandbox, code_of(authorize(sandbox, portal="5"))).json()
    other = exchange(sandbox, code_of(authorize(sandbox, portal="6"))).json()
    assert sandbox.admin.revoke_tokens(portal=5) == 2
    assert status(refresh(sandbox, ours["refresh_token"])) == (400, "BAD_REFRESH_TOKEN")
    assert refresh(sandbox, other["refresh_token"]).status_code == 200


def test_accounts_of_two_grants_are_apart(sandbox: RunningSandbox) -> None:
    one, two = (exchange(sandbox, code_of(authorize(sandbox, portal=number))).json()["access_token"] for number in ("11", "12"))
    sandbox.admin.seed("companies", [{"name": "A"}], portal=11)
    assert len(sandbox.request("GET", "/crm/v3/objects/companies", token=one).json()["results"]) == 1
    assert sandbox.request("GET", "/crm/v3/objects/companies", token=two).json()["results"] == []


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/crm/v3/objects/contacts", "crm.objects.contacts.read"),
        ("POST", "/crm/v3/objects/companies", "crm.objects.companies.write"),
        ("POST", "/crm/objects/2026-09/deals/batch/read", "crm.objects.deals.read"),
        ("POST", "/crm/v3/properties/companies", "crm.schemas.companies.write"),
        ("GET", "/crm/v3/owners", "crm.objects.owners.read"),
        ("GET", "/crm/v3/schemas", "crm.schemas.custom.read"),
        ("POST", "/crm/v4/associations/contacts/companies/batch/create", "crm.objects.contacts.write"),
    ],
)
def test_missing_scopes_are_named(sandbox: RunningSandbox, method: str, path: str, needed: str) -> None:
    held = sandbox.admin.issue_token(scopes=["crm.objects.companies.read"])
    answer = sandbox.request(method, path, {}, token=held)
    body = answer.json()
    assert (answer.status_code, body["category"]) == (403, "MISSING_SCOPES")
    assert needed in body["errors"][0]["context"]["requiredGranularScopes"]
    assert not [name for name in answer.headers if name.lower().startswith("x-hubspot-ratelimit")]


def test_reading_definitions_needs_no_schema_scope(sandbox: RunningSandbox) -> None:
    held = sandbox.admin.issue_token(scopes=["crm.objects.companies.read"])
    assert sandbox.request("GET", "/crm/v3/properties/companies", token=held).status_code == 200
