"""What a connection offers, for lists: without reading whole definitions."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Func, IntegerField, QuerySet

from syncline.connections.models import Connection

from .models import ObjectSnapshot


def counted(rows: QuerySet[ObjectSnapshot]) -> QuerySet[Any]:
    """With `properties`, their number; the definitions themselves stay in the database."""
    number = Func(F("content__properties"), function="jsonb_array_length", output_field=IntegerField())
    return rows.defer("content").annotate(properties=number)


def offered(connection: Connection) -> list[Any]:
    return list(counted(ObjectSnapshot.objects.filter(connection=connection)).order_by("gone_at", "title"))
