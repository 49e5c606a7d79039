"""What a host is asked or told with characters that mean something elsewhere: no failure, and no line of a log that is forged."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient
from syncline_host.lines import OneLine


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/dead-letters/?key=a%00b",
        "/api/v1/dead-letters/?partition=%00",
        "/api/v1/customers/a%00b/licenses",
        "/admin/syncline/deadletter/?state=%00",
        "/admin/syncline/outgoing/?state=%00",
    ],
)
def test_a_question_with_a_nul_is_a_bad_one_and_no_failure(client: Client, address: str) -> None:
    user = User.objects.create_superuser("ann", "ann@example.org", "x")
    client.raise_request_exception = False
    client.force_login(user)
    program = APIClient(raise_request_exception=False)
    program.force_authenticate(user)
    answer = (program if address.startswith("/api/") else client).get(address, secure=True)
    assert answer.status_code == 400


def test_what_others_say_begins_no_line_of_the_log() -> None:
    configured: Any = settings.LOGGING
    told = dict(configured["formatters"]["line"])
    assert told.pop("()") == "syncline_host.lines.OneLine"
    formatter = OneLine(told["format"], style=told["style"])
    said = "refused\n2026-01-01 00:00:00 INFO syncline: all is well\r\x1b[2K\u2028"
    record = logging.LogRecord("syncline", logging.WARNING, "", 0, "It was %s", (said,), None)
    lines = formatter.format(record).splitlines()
    assert len(lines) == 1
    assert "\x1b" not in lines[0]
    assert "\\n2026-01-01" in lines[0]


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.LogRecord("syncline", logging.ERROR, "", 0, "x", (), (ValueError, error, error.__traceback__))
    assert len(OneLine("{message}", style="{").format(record).splitlines()) > 2
