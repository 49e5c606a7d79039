"""Columns arrive in PostgreSQL as they were, whatever is in them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import connection
from syncline_licensing.writing import arrays

pytestmark = pytest.mark.django_db
NOON = dt.datetime(2026, 11, 26, 12, 0, 0, 123456, tzinfo=dt.UTC)
ODD = ["", "NULL", "null", 'a "b"', "a\\b", "\\", '\\"', "{a,b}", "a,b", " a ", "%s", "'; --", "ä€😀", "\n\t", "{", '"']


def there(column: str, kind: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM unnest(%s::{kind}[])", [column])
        return [row[0] for row in cursor.fetchall()]


def test_texts_stay_as_they_are() -> None:
    assert there(arrays.texts(ODD), "text") == ODD
    assert [there(arrays.texts([one]), "text") for one in ODD] == [[one] for one in ODD]


def test_numbers_moments_and_truth_stay_as_they_are() -> None:
    numbers = [0, None, -(2**63), 2**63 - 1]
    moments = [NOON, None, NOON.astimezone(dt.timezone(dt.timedelta(hours=5)))]
    assert there(arrays.numbers(numbers), "bigint") == numbers
    assert there(arrays.moments(moments), "timestamptz") == moments
    assert there(arrays.booleans([True, False]), "bool") == [True, False]
