"""How the run of a continuous sync went, as far as that is not what any pull tells."""

from __future__ import annotations

from django.db.models import Sum

from syncline.ledger.messages import DeadLetter
from syncline.ledger.models import ErrorGroup
from syncline.runs.models import Run

GAP = "gap"
"""Code of the error groups that say that something is lost."""


def troubles(run: Run) -> list[tuple[int, str]]:
    lost = ErrorGroup.objects.filter(run_id=run.pk, code=GAP).aggregate(total=Sum("count"))["total"] or 0
    refused = DeadLetter.objects.filter(run_id=run.pk).exclude(state="taken").count()
    return [(refused, "messages refused and kept"), (lost, "gaps, in which something is lost")]
