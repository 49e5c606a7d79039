"""What a connector says of itself: who it is, how one signs in, which limits it keeps to, where it can be tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Capability(StrEnum):
    """What a connector says it can do; each one stands for exactly one hook of the same name."""

    CHECK = "check"
    DISCOVER = "discover"
    SUGGEST_MAPPING = "suggest_mapping"
    CREATE_PROPERTIES = "create_properties"
    PUSH = "push"
    SUBMIT = "submit"
    COLLECT = "collect"
    FETCH = "fetch"
    MATCH = "match"
    PULL = "pull"
    PARTITIONS = "partitions"
    VERIFY = "verify"
    PARSE = "parse"
    ACKNOWLEDGE = "acknowledge"
    SANDBOX = "sandbox"


#: From this many seconds on a window is counted, below it is paced: see Limit.
COUNTED_FROM = 3600.0


@dataclass(frozen=True, slots=True)
class Limit:
    """A call allowance as the vendor states it: at most `size` calls in any `window` seconds.

    The host keeps to it across all its processes: it spreads calls evenly over a short window, and counts them in one of an
    hour or more, which may be used up at any speed.

    `scope`: "account" (all apps of the account share it) or "app_account" (each app has its own). `covers`: for people.
    `every_call`: counts each call, whatever `limit=` the request names. The first limit without it is what a request counts
    against that names none.
    `headers`: what answers say about it, as header → pattern with `{size}`, `{remaining}` or `{used}` for the numbers, such as
    `{"X-RateLimit-Remaining": "{remaining}"}`. What is learnt wins over `size`. A counted limit with `headers` is enforced
    only once they told what remains.
    """

    name: str
    scope: str
    covers: str
    window: float
    size: int
    every_call: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuthMethod:
    """One way to prove who we are.

    `kind`: "oauth2", "token", "basic", "key_pair" or "none".
    `schema`: JSON Schema of the credentials a person types; secret fields have `"writeOnly": true`, and those of several lines
    `"contentMediaType": "application/x-pem-file"`.
    For oauth2: `authorize_url`, `token_url` and `revoke_url` may contain `{name}` of a setting. `grant` says how a token is got:
    "authorization_code" (a person agrees on the vendor's page), or without a person and without a refresh token
    "client_credentials" (the registration's client id and secret) or "jwt_bearer" (a statement signed by RS256, made of what is
    typed: `username`, `private_key` and `audience` are fields of `schema`). `agrees`: member of the vendor's answer with the
    token → setting that must be the same address, such as `{"instance_url": "instance_url"}`; what is missing is not compared.
    """

    key: str
    title: str
    kind: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    authorize_url: str = ""
    token_url: str = ""
    revoke_url: str = ""
    scopes: tuple[str, ...] = ()
    pkce: bool = True
    grant: str = "authorization_code"
    agrees: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConnectorInfo:
    """Who a connector is.

    `key` equals the entry-point name and is a slug; `contract` is a version specifier such as `>=1,<2`;
    `settings_schema` is a JSON Schema (object) whose defaults work; `hosts` are the host names the connector may call
    (`*.example.com` allowed). `unsigned_webhooks`: the vendor signs nothing, so what comes to an address without a secret
    is taken, and `verify` is asked only where there is one. `answers_unread`: `acknowledge` answers STORED and UNREADABLE
    alike and looks at no events, so that a delivery may be answered before it is read.
    """

    key: str
    title: str
    version: str
    contract: str
    capabilities: frozenset[Capability]
    settings_schema: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    docs_url: str = ""
    registration_needed: bool = False
    unsigned_webhooks: bool = False
    answers_unread: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """The remote account the credentials belong to."""

    id: str
    name: str
    url: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A local server that behaves like the vendor.

    `command`: argv of the server process; it binds 127.0.0.1 on the port given by `--port` (0: any) and prints one JSON
    line with at least `url` (of whatever protocol), plus what is needed to connect (`token`, `client_id`, …).
    `settings`: settings of a registration or connection that lead to it; `{url}` and other names of that line are replaced.
    `simulate`: acts as the vendor's customers towards this host, until it is done or told to stop (SIGINT, SIGTERM), and writes
    what it did to the standard output, one line of JSON at the end. `syncline simulate KEY` calls it: its arguments become
    options, each `Annotated[type, "what it means"]` of str, int, float or bool. SynclineError when it cannot go on.
    """

    command: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    simulate: Callable[..., None] | None = None
