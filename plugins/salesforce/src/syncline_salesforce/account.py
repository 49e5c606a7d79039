"""Which account this is."""

from __future__ import annotations

from typing import Final

from syncline.contract import AuthError, Session

from . import soql
from .client import Client
from .errors import Json

WHO: Final = soql.select(("Id", "Name", "OrganizationType", "InstanceName", "IsSandbox"), "Organization")


def organization(session: Session) -> Json:
    """Asks, so that a token that ended is renewed on the way."""
    found = Client(session).query(WHO)["records"]
    if not found:
        raise AuthError("Salesforce does not show the user of this connection its organization. Connect as another user.")
    record: Json = found[0]
    return record
