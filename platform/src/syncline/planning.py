"""What `syncline plan` and `syncline apply` do: carry the run out in this process, beside any workers there are, and tell."""

from __future__ import annotations

import time
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from syncline.contract import ConfigError
from syncline.ledger.reading import titles
from syncline.runs.execute import work
from syncline.runs.models import PlanRow, Run
from syncline.runs.plan import overview
from syncline.runs.plan.start import refusal, start_apply, start_plan
from syncline.syncs.models import Sync

DONE, FAILED, INCOMPLETE = 0, 1, 3
"""Exit codes. Incomplete: it ended, but something was not planned or not applied. (2 is a wrong command line.)"""
LINES: Final = 6
TONES: Final = {"create": "green", "adopt": "cyan", "update": "yellow", "remove": "red"}


def sync_named(given: str) -> Sync:
    """By id, else by its name. ConfigError when there is none, or more than one."""
    found = Sync.objects.select_related("connection__owner", "current")
    if given.isdecimal() and (one := found.filter(pk=int(given)).first()):
        return one
    named = list(found.filter(name=given).order_by("pk"))
    if len(named) == 1:
        return named[0]
    if named:
        raise ConfigError(f"{len(named)} syncs are called {given!r}. Give the id of one: {', '.join(str(s.pk) for s in named)}.")
    known = ", ".join(f"{sync.pk} ({sync.name})" for sync in Sync.objects.order_by("pk")[:20])
    raise ConfigError(f"There is no sync {given!r}. {f'Known ones: {known}.' if known else 'Add one on the admin pages first.'}")


def plan_numbered(number: int) -> Run:
    plan = Run.objects.select_related("sync__connection__owner", "version").filter(pk=number).first()
    if plan is None:
        raise ConfigError(f"There is no plan {number}. Make one with: syncline plan SYNC")
    return plan


def to_end(run: Run) -> Run:
    """Works on the run until it has ended; a part may wait for its time, or be with another worker."""
    while Run.objects.filter(pk=run.pk, state__in=Run.ACTIVE).exists():
        work(3600, run.pk)
        time.sleep(0.05)
    run.refresh_from_db()
    return run


def plan(sync: Sync, console: Console, number: int = 10) -> int:
    done = to_end(start_plan(sync, trigger="command"))
    console.print(f"Plan {done.pk} of {escape(sync.name)}. Nothing was written.", highlight=False)
    if done.state not in (Run.State.SUCCEEDED, Run.State.PROBLEMS):
        console.print(f"[red]{done.get_state_display()}[/]: {escape(done.reason)}", highlight=False)
        return FAILED
    show(done, console, number)
    if not (reason := refusal(done, done.sync)):
        console.print(f"\nTo write exactly this: [bold]syncline apply {done.pk}[/]", highlight=False)
    elif done.state == Run.State.SUCCEEDED:
        console.print(f"\nThere is nothing to apply. {'' if overview.left(done) else done.reason}".rstrip(), highlight=False)
    else:
        console.print(f"\n{escape(reason)}", highlight=False)
    return DONE if done.state == Run.State.SUCCEEDED else INCOMPLETE


def show(done: Run, console: Console, number: int) -> None:
    """Totals by action, and the first records with what is there and what would be written."""
    table = Table("would", "records", "", box=None, header_style="bold")
    table.columns[1].justify = "right"
    for total in overview.totals(done):
        table.add_row(f"[{TONES.get(total.action, 'default')}]{total.label}[/]", f"{total.number:,}", total.meaning)
    if quiet := overview.quiet(done):
        table.add_row("unchanged", f"{quiet:,}", "nothing changed here since the last run")
    console.print(table)
    if some := overview.sample(done, number):
        console.print(changes(done, some))


def changes(done: Run, rows: list[PlanRow]) -> Table:
    names = titles(done.sync.dataset, [row.local_key for row in rows])
    table = Table("record", "would", "field", "there", "planned", title="Some of them", title_justify="left", expand=False)
    for row in rows:
        who = f"{names.get(row.local_key, 'record')} ({row.local_key})"
        would = f"[{TONES.get(row.action, 'default')}]{row.get_action_display()}[/]"
        lines = overview.lines(row)
        if row.reason or not lines:
            table.add_row(escape(who), would, "", "", escape(row.reason), end_section=not lines)
            who = would = ""
        rest = len(lines) - LINES
        for place, line in enumerate(lines[:LINES], 1):
            planned = f"{escape(line.planned)} [dim]({line.note})[/]" if line.note else f"[bold]{escape(line.planned) or '–'}[/]"
            table.add_row(escape(who), would, line.name, escape(line.there) or "–", planned, end_section=place == len(lines))
            who = would = ""
        if rest > 0:
            table.add_row("", "", f"[dim]{rest} more field{'s' if rest > 1 else ''}[/]", "", "", end_section=True)
    return table


def question(plan: Run) -> str:
    """What applying would write, to be confirmed. ConfigError when it cannot be applied."""
    if reason := refusal(plan, plan.sync):
        raise ConfigError(reason)
    counts = overview.left(plan)
    said = ", ".join(f"{counts[action]:,} × {PlanRow.Action(action).label}" for action in overview.MEANINGS if action in counts)
    return f"Write to {plan.sync.connection.name}: {said}?"


def apply(plan: Run, console: Console) -> int:
    done = to_end(start_apply(plan, trigger="command"))
    written = done.created + done.updated + done.adopted + done.unchanged + done.removed
    console.print(f"Run {done.pk} applied plan {plan.pk}: {written:,} of {done.expected or 0:,} records.", highlight=False)
    if done.state == Run.State.SUCCEEDED:
        return DONE
    console.print(f"{done.get_state_display()}: {escape(done.reason)}", highlight=False)
    if stale := list(overview.rows(plan, state=PlanRow.State.STALE)[:5]):
        names = titles(plan.sync.dataset, [row.local_key for row in stale])
        for row in stale:
            console.print(f"  stale: {escape(names.get(row.local_key, row.local_key))}: {escape(row.reason)}", highlight=False)
        console.print(f"Plan again to see them as they are now: syncline plan {plan.sync_id}", highlight=False)
    return INCOMPLETE if done.state == Run.State.PROBLEMS else FAILED
