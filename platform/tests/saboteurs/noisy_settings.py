"""Reads Django's settings while it is imported, and hides that it could not."""

from __future__ import annotations

import contextlib

from django.conf import settings
from syncline_notes.connector import Notes

from .breaks import breaks

DEBUG = False
with contextlib.suppress(ImportError):
    DEBUG = settings.DEBUG


@breaks("quiet-import")
class ReadsSettingsOnImport(Notes):
    pass
