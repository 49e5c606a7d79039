"""Finding, making and changing addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.urls import is_valid_path

from syncline.connections import keyring
from syncline.connections.models import Connection, Registration
from syncline.connections.secrets import reveal
from syncline.contract import ConfigError

from . import prepared
from .models import AddressName, WebhookAddress, new_slug
from .remembered import Remembered

SHORTEST_SECRET: Final = 8
REMEMBERED: Final = 1.0  # seconds
_SLUG: Final = re.compile(r"[A-Za-z0-9_-]{8,100}")
#: Of an alias with slashes, which is a whole path: `salesforce/webhook` is reached at /salesforce/webhook.
PATH_ALIAS: Final = re.compile(r"(?=.{8,100}\Z)[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", re.ASCII)

_FIND = """
SELECT a.id, coalesce(c.connector, r.connector), a.connection_id, a.registration_id,
       a.enabled AND NOT EXISTS (
           SELECT 1 FROM syncline_connectorstate s WHERE s.key = coalesce(c.connector, r.connector) AND NOT s.enabled),
       a.secrets, r.client_secret
FROM syncline_addressname n JOIN syncline_webhookaddress a ON a.id = n.address_id
LEFT JOIN syncline_connection c ON c.id = a.connection_id
LEFT JOIN syncline_registration r ON r.id = a.registration_id
"""


@dataclass(frozen=True, slots=True)
class Place:
    """An address as an intake needs it. `secrets`: the newest first. `open`: neither it nor its connector is switched off."""

    address_id: int
    connector: str
    connection_id: int | None
    registration_id: int | None
    open: bool
    secrets: tuple[str, ...]


def find(slug: str) -> Place | None:
    """As it is, or was less than a second ago: what other processes change holds here after that."""
    return _places.get(slug, lambda: _place(_FIND + "WHERE n.slug = %(slug)s", {"slug": slug}))


_places: Final = Remembered[Place](REMEMBERED)


def place_of(address_id: int) -> Place:
    found = _place(_FIND + "WHERE a.id = %(id)s AND n.current", {"id": address_id})
    if found is None:
        raise ConfigError("This webhook address is not there any more.")
    return found


def _place(sql: str, values: Mapping[str, object]) -> Place | None:
    row = prepared.row(sql, values)
    if row is None:
        return None
    address_id, key, connection_id, registration_id, is_open, signing, client_secret = row
    secrets = _unsealed(signing, client_secret, keyring.fingerprint())
    return Place(address_id, key, connection_id, registration_id, is_open, secrets)


@lru_cache(maxsize=256)
def _unsealed(signing: str | None, client_secret: str | None, _ring: tuple[str, ...]) -> tuple[str, ...]:
    """By their ciphertexts, so that a busy address is not decrypted for each delivery and a changed secret holds at once."""
    typed, app = WebhookAddress._meta.get_field("secrets"), Registration._meta.get_field("client_secret")
    own = typed.unseal(signing).get("signing", ()) if signing else ()
    given = [*own, reveal(app.unseal(client_secret)) if client_secret else ""]
    return tuple(dict.fromkeys(filter(None, given)))


def paths() -> frozenset[str]:
    """The aliases that are whole paths, as they are or were less than a second ago."""
    return _paths.get("", _asked_paths) or frozenset()


_paths: Final = Remembered[frozenset[str]](REMEMBERED)


def _asked_paths() -> frozenset[str]:
    return frozenset(row[0] for row in prepared.rows("SELECT slug FROM syncline_addressname WHERE slug LIKE '%%/%%'", {}))


def url(slug: str) -> str:
    return f"{settings.SYNCLINE_PUBLIC_URL}/{slug}" if "/" in slug else f"{settings.SYNCLINE_PUBLIC_URL}/hooks/{slug}/"


def make(owner: Registration | Connection) -> WebhookAddress:
    """The owner's address, new or the one there is."""
    which = {"registration": owner} if isinstance(owner, Registration) else {"connection": owner}
    with transaction.atomic():
        address, made = WebhookAddress.objects.get_or_create(**which)
        if made:
            AddressName.objects.create(address=address, current=True)
    return address


def rename(address: WebhookAddress) -> str:
    """A new name, at which it is reached from now on; the present one becomes an alias, so that nothing is lost meanwhile."""
    slug = new_slug()
    with transaction.atomic():
        address.names.filter(current=True).update(current=False)
        AddressName.objects.create(address=address, slug=slug, current=True)
    return slug


def add_alias(address: WebhookAddress, slug: str) -> None:
    """For addresses that vendors know from elsewhere."""
    if not (PATH_ALIAS if "/" in slug else _SLUG).fullmatch(slug):
        raise ConfigError(
            "An alias has 8 to 100 letters, digits, - and _: choose one that nobody guesses. Or it is a whole path without the "
            "first and the last slash, such as salesforce/webhook."
        )
    if "/" in slug and is_host_path(slug):
        raise ConfigError(f"/{slug} is a page of this host, or would be taken for one. Choose another path.")
    try:
        with transaction.atomic():
            AddressName.objects.create(address=address, slug=slug)
    except IntegrityError:
        raise ConfigError("This alias leads to an address already. Choose another.") from None
    _paths.forget()


def is_host_path(path: str) -> bool:
    """Whether the host has a page at this path, or below its first part what is not an address of pages."""
    static = settings.STATIC_URL.strip("/")
    return f"{path}/".startswith((f"{static}/", "hooks/")) or any(is_valid_path(f"/{path}{end}") for end in ("", "/"))


def drop_alias(address: WebhookAddress, slug: str) -> None:
    if not address.names.filter(slug=slug, current=False).delete()[0]:
        raise ConfigError("This is no alias of the address.")
    _places.forget()
    _paths.forget()


def add_secret(address: WebhookAddress, secret: str) -> None:
    """It holds beside the earlier ones, until those are dropped."""
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(f"A signing secret has {SHORTEST_SECRET} characters at least. Copy it from the vendor's page.")
    _change(address, lambda known: [secret, *(one for one in known if one != secret)])


def drop_older(address: WebhookAddress) -> None:
    """Only the newest one that was typed holds from now on, and a registration's client secret."""
    _change(address, lambda known: known[:1])


def typed(address: WebhookAddress) -> Sequence[str]:
    """The secrets of its own, for counting."""
    known: list[str] = (address.secrets or {}).get("signing", [])
    return known


def _change(address: WebhookAddress, change: Callable[[list[str]], list[str]]) -> None:
    with transaction.atomic():
        held = WebhookAddress.objects.select_for_update(of=("self",)).get(pk=address.pk)
        held.secrets = {"signing": change(list(typed(held)))}
        held.save(update_fields=["secrets"])
    _places.forget()
