"""`populate_database`: a made-up register of any size."""

from __future__ import annotations

import math
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...sample import load
from ...sample.invent import Block


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a number of companies; give one of at least 1.")
    return int(text)


def mean(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and 0 <= value <= 50):
        raise ArgumentTypeError(f"{text!r} is not an average; give a number from 0 to 50.")
    return value


class Command(BaseCommand):
    help = "Fills the register with made-up companies, people and deals. The same seed gives the same rows."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--companies", type=positive, default=2_000, help="how many to add (default 2000)")
        parser.add_argument("--seed", type=int, default=1, help="another number gives another register (default 1)")
        parser.add_argument("--employees-per-company", type=mean, default=1.2, help="on average (default 1.2)")
        parser.add_argument("--deals-per-company", type=mean, default=1.0, help="on average (default 1.0)")
        parser.add_argument("--clear", action="store_true", help="empty the register first")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["clear"]:
            load.clear()
        report = Progress(self, options["companies"], quiet=options["verbosity"] == 0)
        try:
            load.load(
                options["companies"],
                seed=options["seed"],
                employees_per_company=options["employees_per_company"],
                deals_per_company=options["deals_per_company"],
                progress=report.add,
            )
        except load.RegisterTooLarge as error:
            raise CommandError(str(error)) from error
        report.finish()


class Progress:
    """Counts what was made, and says so every other second and at the end."""

    def __init__(self, command: BaseCommand, wanted: int, *, quiet: bool = False) -> None:
        self.command, self.wanted, self.quiet = command, wanted, quiet
        self.companies = self.employees = self.deals = 0
        self.started = self.told = time.monotonic()

    def add(self, block: Block) -> None:
        self.companies += len(block.companies)
        self.employees += len(block.employees)
        self.deals += len(block.deals)
        if self.command_is_quiet_for(2.0):
            self.say(f"{self.companies / self.wanted:4.0%}")

    def command_is_quiet_for(self, seconds: float) -> bool:
        now = time.monotonic()
        if now - self.told < seconds:
            return False
        self.told = now
        return True

    def finish(self) -> None:
        self.say("Done:")

    def say(self, begin: str) -> None:
        if self.quiet:
            return
        seconds = time.monotonic() - self.started
        self.command.stdout.write(
            f"{begin} {self.companies:,} companies, {self.employees:,} employees, {self.deals:,} deals in {seconds:.1f} s"
        )
        self.command.stdout.flush()
