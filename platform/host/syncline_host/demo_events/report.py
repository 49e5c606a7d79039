"""What became of the messages, and how long each took from its arrival to its effect."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection
from django.db.models import Sum
from rich.table import Table
from syncline.inbox.models import Delivery, InboxEvent
from syncline.ledger.messages import DeadLetter, Outgoing
from syncline.runs.models import Run, RunPart
from syncline_licensing.models import License

from .scenario import Scene

# From the moment the web process had the delivery to the moment its effect was written.
_LATENCIES = """
SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY ms), percentile_disc(0.99) WITHIN GROUP (ORDER BY ms), count(*)
FROM (SELECT extract(epoch FROM i.at - d.received_at) * 1000 AS ms
      FROM syncline_incoming i JOIN syncline_inboxevent e ON e.id = split_part(i.message_id, ':', 2)::bigint
      JOIN syncline_delivery d ON d.id = e.delivery_id) AS taken
"""


@dataclass(frozen=True, slots=True)
class Report:
    """`messages`: deliveries that were acknowledged. `behind`: messages that were not taken in at the end."""

    broker: str
    messages: int
    malformed: int
    unchanged: int
    published: int
    applied: int
    refused: int
    licences: int
    mismatches: int
    behind: int
    seconds: float
    p50_ms: float
    p99_ms: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> Table:
        table = Table(title="What became of the messages")
        for name in ("", "number"):
            table.add_column(name, justify="right" if name else "left")
        said = {
            "acknowledged by the inbox": self.messages,
            "could not be read, kept with the reason": self.malformed,
            "said nothing new, and went no further": self.unchanged,
            f"published to the topic ({self.broker})": self.published,
            "changed a customer or a licence": self.applied,
            "refused": self.refused,
            "still on the way": self.behind,
            "licences held": self.licences,
            "customers that are not as expected": self.mismatches,
            "ms from delivery to effect, median": round(self.p50_ms),
            "ms from delivery to effect, 99 of 100": round(self.p99_ms),
        }
        for what, number in said.items():
            table.add_row(what, f"{number:,}")
        return table


def settle(scene: Scene, seconds: float, tell: Callable[[int], None]) -> int:
    """Waits until everything has arrived; gives what has not by then."""
    until = time.monotonic() + seconds
    calm = 0
    while time.monotonic() < until:
        left = behind(scene)
        tell(left)
        calm = calm + 1 if left == 0 else 0
        if calm >= 3:
            return 0
        time.sleep(0.5)
    return behind(scene)


def behind(scene: Scene) -> int:
    """Events that wait, messages that wait for the broker, and messages of the topic that were not taken in yet."""
    events = InboxEvent.objects.filter(state=InboxEvent.State.WAITING).count()
    waiting = Outgoing.objects.filter(state=Outgoing.State.WAITING).count()
    published = Outgoing.objects.filter(sync=scene.relay, state=Outgoing.State.PUBLISHED).count()
    return events + waiting + max(0, published - _read(scene))


def _read(scene: Scene) -> int:
    return int(RunPart.objects.filter(run__sync=scene.stream).aggregate(total=Sum("read"))["total"] or 0)


def made(scene: Scene, broker: str, seconds: float, mismatches: int) -> Report:
    outgoing = Outgoing.objects.filter(sync=scene.relay)
    with connection.cursor() as cursor:
        cursor.execute(_LATENCIES)
        p50, p99, applied = cursor.fetchone()
    return Report(
        broker=broker,
        messages=Delivery.objects.count(),
        malformed=Delivery.objects.filter(state=Delivery.State.UNREADABLE).count(),
        unchanged=outgoing.filter(state=Outgoing.State.UNCHANGED).count(),
        published=outgoing.filter(state=Outgoing.State.PUBLISHED).count(),
        applied=applied,
        refused=outgoing.filter(state=Outgoing.State.REFUSED).count() + DeadLetter.objects.count(),
        licences=License.objects.filter(active=True).count(),
        mismatches=mismatches,
        behind=behind(scene),
        seconds=round(seconds, 1),
        p50_ms=round(float(p50 or 0), 1),
        p99_ms=round(float(p99 or 0), 1),
    )


def troubles(scene: Scene) -> list[str]:
    """Why a part of it is not going, as the pages say it."""
    parts = RunPart.objects.filter(run__sync__in=[scene.relay, scene.stream], run__state__in=Run.ACTIVE)
    return [f"{part}: {part.last_error}" for part in parts.exclude(last_error="")]
