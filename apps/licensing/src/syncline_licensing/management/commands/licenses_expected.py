"""Compares the licences here with what the simulator expects: `syncline manage licenses_expected FILE`, or - for its input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from syncline_licensing.expected import mismatches


class Command(BaseCommand):
    help = "Compares the licences with what `syncline simulate salesforce` printed at its end; ends with 1 when they differ."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="What the simulator printed; - reads it from the input.")

    def handle(self, *_args: Any, **options: Any) -> None:
        expected = read(options["file"])
        found = mismatches(expected)
        for one in found:
            self.stdout.write(one)
        if found:
            raise CommandError(f"{len(found)} of {len(expected)} customers differ.", returncode=1)
        self.stdout.write(self.style.SUCCESS(f"All {len(expected)} customers are as expected."))


def read(name: str) -> dict[str, Any]:
    """The last line of the file is the simulator's; a log may stand before it."""
    try:
        lines = (sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")).strip().splitlines()
        customers: dict[str, Any] = json.loads(lines[-1])["customers"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CommandError(
            f"{name} is no file whose last line is what `syncline simulate salesforce` prints ({error})."
        ) from error
    return customers
