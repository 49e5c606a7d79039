"""Loads Django's models."""

from __future__ import annotations

from django.db import models
from syncline_notes.connector import Notes

from .breaks import breaks

LONGEST = models.CharField(max_length=9).max_length


@breaks("quiet-import")
class LoadsModels(Notes):
    pass
