"""The public statistics page: the figures of the API as tables, and as charts where scripts run."""

from __future__ import annotations

from typing import Any, Final

from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control
from django.views.generic import TemplateView

from .services import Raised, Statistics, statistics

COUNTRIES_DRAWN: Final = 10
NO_COUNTRY: Final = "No country"


@method_decorator(cache_control(public=True, max_age=60), name="dispatch")
class StatisticsPage(TemplateView):
    template_name = "companies/statistics.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        figures = statistics()
        context = {"figures": figures, "charts": charts(figures), "now": timezone.now(), "no_country": NO_COUNTRY}
        return super().get_context_data(**context, **kwargs)


def charts(figures: Statistics) -> dict[str, dict[str, Any]]:
    """What the script draws, by the id of its canvas; a chart without anything to show is left out."""
    drawn = {}
    if any(quarter.companies for quarter in figures.founded_per_quarter):
        drawn["chart-founded"] = bars(
            "Companies founded", [(quarter.label, quarter.companies) for quarter in figures.founded_per_quarter]
        )
    if raised := [row for row in figures.raised_by_country if row.deals][:COUNTRIES_DRAWN]:
        values = [(country_name(row), float(row.average)) for row in raised]
        drawn["chart-raised"] = {**bars("Average raised per company", values), "lying": True}
    return drawn


def bars(label: str, values: list[tuple[str, float]]) -> dict[str, Any]:
    return {"label": label, "labels": [name for name, _ in values], "values": [value for _, value in values]}


def country_name(row: Raised) -> str:
    return row.country or row.iso_code or NO_COUNTRY
