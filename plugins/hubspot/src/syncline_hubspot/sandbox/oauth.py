"""OAuth 2: the authorize page, the token endpoints of every version, introspection and revocation."""

from __future__ import annotations

import base64
import hashlib
import secrets
from html import escape
from urllib.parse import urlencode, urlsplit

from .portal import APP_ID, DEFAULT_PORTAL, USER_ID
from .server import OAuthApp
from .tokens import Code, Grant, Refresh
from .wire import ApiError, Call, Json, Reply

CODE_LIFETIME_S = 60
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def _refused(error: str, description: str, status: str) -> ApiError:
    body = {"error": error, "error_description": description, "status": status, "message": description}
    return ApiError(Reply(400, body))


def _redirect_allowed(app: OAuthApp, uri: str) -> bool:
    """Exactly one of the registered ones; with none registered, any address of this machine."""
    if app.redirect_uris:
        return uri in app.redirect_uris
    return urlsplit(uri).hostname in _LOOPBACK


def authorize(call: Call) -> Reply:
    """Grants at once, like a user who always agrees; `auto_approve=false` shows the page, `deny=true` refuses."""
    query = call.query
    uri = query.get("redirect_uri", "")
    if query.get("client_id") != call.server.app.client_id:
        return _page(400, "We couldn't find the app: the client_id is not known.")
    if not _redirect_allowed(call.server.app, uri):
        return _page(400, "The redirect_uri is not one of those registered for this app.")
    if query.get("code_challenge") and query.get("code_challenge_method", "plain") != "S256":
        return _page(400, "Only the code_challenge_method S256 is supported.")
    if query.get("deny") == "true":
        return _back(uri, {"error": "access_denied", "error_description": "The user denied access"}, query.get("state"))
    if query.get("auto_approve") == "false":
        return _page(200, "An app wants to connect to this account.", call.link(auto_approve="true"))
    return _back(uri, {"code": _new_code(call, uri)}, query.get("state"))


def _new_code(call: Call, uri: str) -> str:
    query = call.query
    asked = f"{query.get('scope', '')} {query.get('optional_scope', '')} oauth"
    portal = call.server.portal(int(query.get("portal", DEFAULT_PORTAL)))
    code = secrets.token_urlsafe(24)
    expires = call.server.clock.now() + CODE_LIFETIME_S
    held = Code(portal.id, frozenset(asked.split()), query["client_id"], uri, expires, query.get("code_challenge", ""))
    call.server.tokens.codes[code] = held
    return code


def _back(uri: str, answer: dict[str, str], state: str | None) -> Reply:
    if state is not None:
        answer["state"] = state
    return Reply(302, b"", {"Location": f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}"}, "text/plain")


def _page(status: int, sentence: str, approve: str = "") -> Reply:
    link = f'<p><a id="approve" href="{escape(approve)}">Connect app</a></p>' if approve else ""
    page = f"<!doctype html><title>HubSpot sandbox</title><h1>HubSpot sandbox</h1><p>{escape(sentence)}</p>{link}"
    return Reply(status, page.encode(), media_type="text/html;charset=utf-8")


def token(call: Call) -> Reply:
    form = call.form()
    _client(call, form)
    kind = form.get("grant_type")
    if kind == "authorization_code":
        refresh = call.server.tokens.new_refresh(_redeemed(call, form))
    elif kind == "refresh_token":
        refresh = _refresh(call, form)
    else:
        raise _refused("unsupported_grant_type", f"grant type {kind} is not supported", "BAD_GRANT_TYPE")
    grant = call.server.tokens.issue(refresh, call.server.config.token_lifetime_s)
    return Reply(200, _issued(call, grant))


def _client(call: Call, form: dict[str, str]) -> None:
    app = call.server.app
    good = secrets.compare_digest(form.get("client_secret", "").encode(), app.client_secret.encode())
    if form.get("client_id") != app.client_id:
        raise _refused("invalid_client", "missing or unknown client id", "BAD_CLIENT_ID")
    if not good:
        raise _refused("invalid_client", "missing or invalid client secret", "BAD_CLIENT_SECRET")


def _redeemed(call: Call, form: dict[str, str]) -> Code:
    code = call.server.tokens.codes.get(form.get("code", ""))
    if code is None or code.used or code.expires_at <= call.server.clock.now():
        raise _refused("invalid_grant", "authorization code is invalid, expired or already used", "BAD_AUTH_CODE")
    if form.get("redirect_uri") != code.redirect_uri:
        raise _refused("invalid_grant", "redirect URI does not match the one of the authorization", "BAD_REDIRECT_URI")
    if code.challenge and _challenge(form.get("code_verifier", "")) != code.challenge:
        raise _refused("invalid_grant", "code verifier does not match the challenge", "BAD_CODE_VERIFIER")
    code.used = True
    return code


def _challenge(verifier: str) -> str:
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _refresh(call: Call, form: dict[str, str]) -> Refresh:
    """Refresh tokens live long and are not replaced."""
    held = call.server.tokens.refresh.get(form.get("refresh_token", ""))
    if held is None or held.revoked:
        raise _refused("invalid_grant", "refresh token is invalid, expired or revoked", "BAD_REFRESH_TOKEN")
    return held


def _issued(call: Call, grant: Grant) -> Json:
    body: Json = {
        "token_type": "bearer",
        "access_token": grant.token,
        "refresh_token": grant.refresh_token,
        "expires_in": call.server.config.token_lifetime_s,
    }
    if "/v1/" not in call.path:
        details = {"hub_id": grant.portal_id, "user_id": USER_ID, "scopes": sorted(grant.scopes), "token_use": "access_token"}
        body |= details
    return body


def introspect(call: Call) -> Reply:
    form = call.form()
    _client(call, form)
    asked = form.get("token") or form.get("access_token") or form.get("refresh_token") or ""
    return Reply(200, _info(call, asked))


def info_by_path(call: Call) -> Reply:
    """v1 form; it does not know private tokens."""
    info = _info(call, call.args["token"])
    if not info.get("active"):
        raise ApiError(Reply(404, {"status": "error", "message": "token not found"}))
    return Reply(200, {name: value for name, value in info.items() if name not in ("active", "token_use")})


def _info(call: Call, asked: str) -> Json:
    grant = call.server.tokens.access.get(asked)
    refresh = call.server.tokens.refresh.get(asked)
    held: Grant | Refresh | None = grant if grant and not grant.private else refresh
    if held is None or held.revoked:
        return {"active": False, "token": asked}
    info: Json = {
        "active": True,
        "token": held.token,
        "token_type": "access" if held is grant else "refresh",
        "token_use": "access_token" if held is grant else "refresh_token",
        "client_id": held.client_id,
        "app_id": APP_ID,
        "hub_id": held.portal_id,
        "hub_domain": f"sandbox-{held.portal_id}.example",
        "user_id": USER_ID,
        "user": "ada.marsh@sandbox.example",
        "scopes": sorted(held.scopes),
    }
    if grant and grant.expires_at is not None:
        left = int(grant.expires_at - call.server.clock.now())
        info |= {"expires_in": max(0, left), "active": left > 0, "is_private_distribution": True}
        info["signed_access_token"] = _signed(grant)
    return info


def _signed(grant: Grant) -> Json:
    return {
        "expiresAt": int((grant.expires_at or 0) * 1000),
        "hubId": grant.portal_id,
        "userId": USER_ID,
        "appId": APP_ID,
        "scopes": " ".join(sorted(grant.scopes)),
        "scopeToScopeGroupPks": "",
        "hublet": "na1",
        "trialScopes": "",
        "trialScopeToScopeGroupPks": "",
        "isUserLevel": False,
        "isServiceAccount": False,
        "isPrivateDistribution": True,
        "signature": "",
        "newSignature": "",
        "installingUserId": USER_ID,
    }


def revoke(call: Call) -> Reply:
    form = call.form()
    _client(call, form)
    call.server.tokens.revoke(form.get("token") or form.get("refresh_token") or form.get("access_token") or "")
    return Reply(200, {})


def delete_refresh(call: Call) -> Reply:
    call.server.tokens.revoke(call.args["token"])
    return Reply(204)


def private_info(call: Call) -> Reply:
    grant = call.server.tokens.access.get(str(call.body().get("tokenKey", "")))
    if grant is None or not grant.private or grant.revoked:
        raise ApiError(Reply(404, {"status": "error", "message": "No private app token found for the key"}))
    info = {"hubId": grant.portal_id, "userId": USER_ID, "appId": APP_ID, "scopes": sorted(grant.scopes)}
    return Reply(200, info)
