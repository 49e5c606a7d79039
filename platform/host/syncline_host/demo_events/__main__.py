"""`make demo-events`: 5,000 messages of customers who change their minds, from the webhook to the licences; MESSAGES=n JSON=1."""

from __future__ import annotations

import json
import os
import secrets
import sys
import time

#: Of the messages: posted twice, unreadable, late, at once.
SHARES = {"duplicates": 0.10, "malformed": 0.05, "reordered": 0.10, "bursts": 0.10}
CUSTOMERS = 200
SETTLES_WITHIN = 120.0


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    os.environ["SYNCLINE_ALLOW_LOOPBACK"] = "1"
    os.environ.setdefault("SYNCLINE_LOG_LEVEL", "ERROR")  # the demo tells what happens by itself
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not servers:
        sys.stderr.write("Which broker? Set KAFKA_BOOTSTRAP_SERVERS, or use `make demo-events`, which starts one.\n")
        return 1
    import django

    django.setup()
    from syncline.contract import SynclineError

    from syncline_host.environment import count

    from .processes import NotUp

    try:
        return _run(servers, os.environ.get("SYNCLINE_BROKER_NAME", servers), count("MESSAGES", 5000, "make demo-events"))
    except (SynclineError, NotUp) as error:
        sys.stderr.write(f"The demo stopped: {error}\n")
        return 1


def _run(servers: str, broker: str, messages: int) -> int:
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rich.console import Console
    from syncline_licensing.expected import mismatches

    from . import processes, report, scenario

    console = Console(width=None if sys.stdout.isatty() else 150)
    call_command("migrate", verbosity=0)
    user = User.objects.create_superuser("demo", "demo@example.com", secrets.token_urlsafe())
    scene = scenario.make(user, servers)
    console.print(f"Broker: {broker}. Two continuous syncs: {scene.relay.name}, {scene.stream.name}.")
    with processes.running() as address:
        url = f"{address}/{scenario.ADDRESS}"
        console.print(f"{messages:,} messages of {CUSTOMERS} customers go to {url}")
        begun = time.monotonic()
        told = processes.simulated(url, messages, customers=CUSTOMERS, rate=0, concurrency=8, **SHARES)
        counts = {name: told[name] for name in ("posted", "acknowledged", "duplicates", "malformed", "again")}
        console.print(f"Acknowledged after {time.monotonic() - begun:.1f} s: {counts}")
        left = report.settle(scene, SETTLES_WITHIN, lambda _left: None)
        seconds = time.monotonic() - begun
        wrong = mismatches(told["customers"])
        for line in [*wrong[:10], *(report.troubles(scene) if left else ())]:
            console.print(f"[red]{line}[/]", highlight=False)
        found = report.made(scene, broker, seconds, len(wrong))
    console.print(found.table())
    if os.environ.get("JSON") == "1":
        sys.stdout.write(json.dumps(found.to_json()) + "\n")
    return 1 if wrong or left else 0


if __name__ == "__main__":
    sys.exit(main())
