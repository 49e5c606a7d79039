"""Looks up a host while it is imported."""

from __future__ import annotations

import socket

from syncline_notes.connector import Notes

from .breaks import breaks

ADDRESS = socket.getaddrinfo("127.0.0.1", 9)


@breaks("quiet-import")
class CallsOnImport(Notes):
    pass
