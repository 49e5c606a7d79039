"""What a process that serves or works does first."""

from __future__ import annotations

from django.db import connection

from . import checks, service, vault


def begin() -> None:
    """Refuses to go on under a wrong key ring (KeyRingError); parks connections whose connector went, and brings others back.

    Does nothing before the first migration. Leaves no database connection open, because servers and clusters fork.
    """
    try:
        if checks.tables_are_there():
            vault.verify()
            service.park_missing()
    finally:
        connection.close()
