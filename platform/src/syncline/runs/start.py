"""Starts runs: at most one active run per sync, with the permissions of who asks and of the connection's owner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models.functions import Coalesce, Now

from syncline import background
from syncline.connections import access
from syncline.contract import ConfigError
from syncline.registry import dataset
from syncline.syncs.continuity import source_complaint
from syncline.syncs.engine import Direction, MappingContent
from syncline.syncs.models import Sync
from syncline.syncs.publish import refuse_drift

from .close import close_run
from .models import Run, RunPart
from .pull import parts as pull_parts
from .queue import QUEUE, WHOLE, add_keys

JOINABLE = (Run.Kind.FULL, Run.Kind.CHANGES, Run.Kind.RETRY, Run.Kind.KEYS, Run.Kind.STREAM)


class AlreadyRunning(ConfigError):
    """This sync is running already. Wait for the run to end, resume it if it is paused, or cancel it."""


def start_run(sync: Sync, *, kind: str = Run.Kind.FULL, trigger: str = "manual", user: User | None = None) -> Run:
    """Queues a run and rings for a worker. ConfigError says what has to be done first."""
    check(sync, user)
    priority = RunPart.Priority.BACKFILL if trigger in ("manual", "api") else RunPart.Priority.SCHEDULED
    with created(sync, kind=kind, trigger=trigger, requested_by=user) as run:
        content = MappingContent.from_json(run.version.content)
        if content.pulls:
            pull_parts.add(run, priority, pushes=content.pushes)
        if content.pushes and (kind in WHOLE or not content.pulls):
            _add_push_parts(run, priority, after_pull=content.pulls)
    return run


def _add_push_parts(run: Run, priority: int, *, after_pull: bool) -> None:
    state = RunPart.State.BLOCKED if after_pull else RunPart.State.QUEUED
    RunPart.objects.create(run=run, kind=RunPart.Kind.PREPARE, state=state, priority=priority)
    RunPart.objects.create(run=run, kind=RunPart.Kind.RANGE, state=RunPart.State.BLOCKED, priority=priority)


def push_keys(
    sync: Sync,
    keys: Sequence[str],
    *,
    priority: int = RunPart.Priority.INTERACTIVE,
    kind: str = Run.Kind.KEYS,
    trigger: str = "manual",
    user: User | None = None,
) -> Run:
    """Pushes just these records, as part of the active run or, when there is none, by a run of their own.

    A joined part goes first; the run's mapping version stays the one it began with. AlreadyRunning while the active run
    cannot take it (a plan is being made or applied). ConfigError for what cannot be a key: no worker could read it, and the
    whole run would end for it.
    """
    check(sync, user)
    _refuse_impossible(sync, keys)
    with transaction.atomic():
        run = Run.objects.select_for_update().filter(sync=sync, state__in=Run.ACTIVE).first()
        if run is not None and run.kind not in JOINABLE:
            raise AlreadyRunning(f"A run of kind “{run.get_kind_display()}” is active; try again when it has ended.")
        if run is not None and run.parts.filter(kind=RunPart.Kind.BULK, state__in=RunPart.OPEN).exists():
            raise AlreadyRunning(f"A bulk import of {sync.name} could arrive after this. Try again when it has ended.")
        if run is not None:
            add_keys(run, keys, priority)
            background.ring(QUEUE)
            return run
    with created(sync, kind=kind, trigger=trigger, requested_by=user) as run:
        add_keys(run, keys, priority)
    return run


def _refuse_impossible(sync: Sync, keys: Sequence[str]) -> None:
    """Asks no database: a number that is none, say, cannot even be compared with the dataset's keys."""
    source = dataset(sync.dataset)
    records, field = source.rows((), ""), source.key_field
    try:
        records.filter(**{f"{field}__in": list(keys)})
    except (ValueError, TypeError, ValidationError) as error:
        raise ConfigError(f"Not all of these can be keys of {sync.dataset}: {', '.join(map(repr, keys[:5]))}.") from error


@contextmanager
def created(sync: Sync, *, kind: str, trigger: str, requested_by: User | None, **more: Any) -> Iterator[Run]:
    """A run to which the caller adds its parts, all in one transaction; then a worker is rung for.

    AlreadyRunning when the sync has an active run.
    """
    version = sync.current
    if version is None:
        raise ConfigError(f"The sync {sync.name} has no published mapping. Publish its draft first.")
    if sync.continuous and kind != Run.Kind.STREAM:
        raise ConfigError(f"{sync.name} runs by itself, in the stream processes. See on its page whether one is there.")
    try:
        with transaction.atomic():
            run = Run.objects.create(sync=sync, version=version, kind=kind, trigger=trigger, requested_by=requested_by, **more)
            yield run
            Sync.objects.filter(pk=sync.pk, blocked_reason__isnull=False).update(blocked_reason=None)
    except IntegrityError as error:
        if "run_one_active" in str(error):
            raise AlreadyRunning from None
        raise
    background.ring(QUEUE)


def check(sync: Sync, user: User | None) -> None:
    if user is not None and not access.may_run(user, sync.connection):
        raise ConfigError(f"You may not run syncs over {sync.connection.name}. Ask its owner for a grant.")
    if reason := access.parked_reason(sync.connection):
        raise ConfigError(reason)
    permission = dataset(sync.dataset).info.permission
    owner = sync.connection.owner
    if permission and not owner.has_perm(permission):
        raise ConfigError(
            f"{owner}, the owner of {sync.connection.name}, may not read {sync.dataset} (permission {permission})."
            " Give the permission, or another owner."
        )
    if dataset(sync.dataset).info.log and (reason := source_complaint(sync)):
        raise ConfigError(reason)
    for wanted in dataset(sync.dataset).info.write_permissions if sync.direction != Direction.PUSH else ():
        if not owner.has_perm(wanted):
            raise ConfigError(
                f"{owner}, the owner of {sync.connection.name}, may not change {sync.dataset} (permission {wanted})."
                " Give the permission, or another owner."
            )
    refuse_drift(sync)


def pause(run: Run) -> bool:
    """Workers give their parts back at the next batch; what was recorded stays. False when it is not active any more."""
    going = (Run.State.QUEUED, Run.State.RUNNING)
    return bool(Run.objects.filter(pk=run.pk, state__in=going).update(state=Run.State.PAUSED))


def resume(run: Run) -> bool:
    """It goes on where it stood. False when it was not paused."""
    begun = Coalesce("started_at", Now())
    resumed = Run.objects.filter(pk=run.pk, state=Run.State.PAUSED).update(state=Run.State.RUNNING, started_at=begun)
    background.ring(QUEUE)
    return bool(resumed)


def cancel(run: Run) -> None:
    """Workers stop at their next batch; what was recorded stays.

    The run's row is held in a way that lets others add parts: who splits a part holds that one, for which this waits. Until
    there are none left, because what was split off meanwhile is seen only by the next look.
    """
    with transaction.atomic():
        Run.objects.select_for_update(no_key=True).get(pk=run.pk)
        while run.parts.filter(state__in=RunPart.OPEN).update(state=RunPart.State.CANCELLED, lease_until=None):
            pass
    close_run(run.pk)
