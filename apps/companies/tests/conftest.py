"""What several files of these tests need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from syncline_companies.models import Country
from syncline_companies.sample import load


@pytest.fixture(scope="class")
def large_register(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """6,000 companies with their people and deals, committed for a whole class."""
    with django_db_blocker.unblock():
        load.load(6_000)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE companies_company, companies_employee, companies_deal")
        yield
        load.clear()
        Country.objects.all().delete()
        User.objects.all().delete()
