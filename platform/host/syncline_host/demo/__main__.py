"""`make demo`: a register of companies and people is planned, arrives in a HubSpot account, and a second push writes nothing."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from .report import PassResult

ROUNDS = 2


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    os.environ["SYNCLINE_ALLOW_LOOPBACK"] = "1"
    os.environ.setdefault("SYNCLINE_LOG_LEVEL", "WARNING")  # the demo tells what happens by itself
    import django

    django.setup()
    from django.core.management import CommandError
    from syncline.contract import SynclineError

    from .connect import NotConnected

    try:
        return _run()
    except (SynclineError, CommandError, NotConnected) as error:
        sys.stderr.write(f"The demo stopped: {error}\n")
        return 1


def _run() -> int:
    from django.contrib.auth.models import User
    from rich.console import Console as RichConsole
    from syncline_hubspot.sandbox.process import RunningSandbox

    from . import loading, report, scenario
    from .connect import connect_by_oauth

    console: Console = RichConsole(width=None if sys.stdout.isatty() else 150)
    started = time.monotonic()
    loading.load(console)
    console.print(f"Database ready after {time.monotonic() - started:.1f} s.")
    with RunningSandbox() as sandbox:
        seeded = scenario.seed_account(sandbox.admin)
        console.print(
            f"HubSpot sandbox at {sandbox.url}: {seeded.companies:,} companies ({seeded.ambiguous_pairs} of them twice)"
            f" and {seeded.people:,} people are there already."
        )
        user = User.objects.create_superuser("demo", "demo@example.com", secrets.token_urlsafe())
        connection = connect_by_oauth(user, sandbox)
        console.print(f"Connected by OAuth to {report.account(connection)}.")
        syncs = scenario.make_syncs(connection, user)
        for sync in syncs:
            rules = sync.rules.count()
            console.print(
                f"{sync.name}: suggested mapping with {rules} rules published as version 1, missing properties created."
            )
        plans = [scenario.planned(console, sandbox.admin, sync, user) for sync in syncs]
        results: list[report.PassResult] = []
        for number in range(1, ROUNDS + 1):
            results += [scenario.measured_pass(console, sandbox.admin, sync, number, user) for sync in syncs]
        scenario.explain(console, syncs)
        console.print(report.table([*plans, *results]))
    if os.environ.get("JSON") == "1":
        told = {"passes": [one.to_json() for one in results], "plans": [one.to_json() for one in plans]}
        sys.stdout.write(json.dumps(told) + "\n")
    return _verdict(plans, results)


def _verdict(plans: Sequence[PassResult], results: Sequence[PassResult]) -> int:
    """Every run came to its end, and neither the plans nor the second push have written anything."""
    if failed := [one for one in [*plans, *results] if one.state == "failed"]:
        sys.stderr.write(f"{len(failed)} of {len(plans) + len(results)} runs failed; see above, or the runs' pages.\n")
        return 1
    if written := sum(one.write_calls for one in plans):
        sys.stderr.write(f"Planning made {written} write calls; it should have made none.\n")
        return 1
    written = sum(one.write_calls for one in results if one.number == ROUNDS)
    if written:
        sys.stderr.write(f"The second push made {written} write calls; it should have made none.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
