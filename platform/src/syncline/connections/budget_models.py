"""Call allowances as PostgreSQL rows, shared by every process."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Budget(models.Model):
    """The allowance of one scope: at most `size` calls in any `window` seconds.

    `scope`: `<connector>:<limit name>:<account>` or, for limits of an app, with the registration as well. `arrival`: the
    theoretical arrival time of the next call (GCRA). `paused_until`: the vendor said so. `learnt_size`: what its headers
    said last, when that differs from what the connector declares; `remaining`: of a daily allowance.
    """

    scope = models.CharField(max_length=300, unique=True)
    connector = models.CharField(max_length=100)
    limit = models.CharField(max_length=100)
    account = models.CharField(max_length=300, blank=True, default="")
    window = models.FloatField()
    size = models.IntegerField()
    learnt_size = models.IntegerField(null=True, blank=True)
    remaining = models.BigIntegerField(null=True, blank=True)
    arrival = models.DateTimeField(db_default=Now())
    paused_until = models.DateTimeField(null=True, blank=True)
    refused_at = models.DateTimeField(null=True, blank=True)
    observed_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.scope


class BudgetUse(models.Model):
    """Calls of one day, by lane; `waited` seconds in all, `refused` answers that said "too many"."""

    id = models.BigAutoField(primary_key=True)
    budget = models.ForeignKey(Budget, on_delete=models.CASCADE, related_name="use")
    day = models.DateField()
    lane = models.CharField(max_length=12)
    calls = models.BigIntegerField(default=0, db_default=0)
    refused = models.BigIntegerField(default=0, db_default=0)
    waited = models.FloatField(default=0.0, db_default=0.0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["budget", "day", "lane"], name="budget_use_lane")]

    def __str__(self) -> str:
        return f"{self.calls} calls in lane {self.lane} on {self.day}"
