"""Re-encrypts every stored secret with the first key of SYNCLINE_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from syncline.connections.rotation import BATCH, Count, rotate_all


class Command(BaseCommand):
    help = "Re-encrypts stored secrets with the first key of SYNCLINE_KEYS. Safe to interrupt and to run again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Count only: is an old key still needed?")
        parser.add_argument("--batch", type=int, default=BATCH, help="Rows per transaction (default %(default)s).")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        counts = rotate_all(dry_run=options["dry_run"], batch=options["batch"])
        for count in counts:
            self.stdout.write(self._line(count, dry_run=options["dry_run"]))
        if unreadable := sum(len(count.unreadable) for count in counts):
            raise CommandError(
                f"{unreadable} secrets cannot be read with any key of SYNCLINE_KEYS. Put the key they were stored with "
                "back into the ring and run this again, or reconnect those connections."
            )

    def _line(self, count: Count, *, dry_run: bool) -> str:
        verb = "to rotate" if dry_run else "rotated"
        line = f"{count.column}: {count.rotated} {verb}, {count.current} current, {len(count.unreadable)} unreadable"
        return f"{line} (rows {', '.join(map(str, count.unreadable[:10]))})" if count.unreadable else line
