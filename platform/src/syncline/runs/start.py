"""Starts runs: at most one active run per sync, with the permissions of who asks and of the connection's owner."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from syncline import background
from syncline.connections import access
from syncline.contract import ConfigError
from syncline.registry import dataset
from syncline.syncs.models import Sync

from .models import Run, RunPart

QUEUE = "runs"


class AlreadyRunning(ConfigError):
    """This sync is running already. Wait for the run to end, or cancel it."""


def start_run(sync: Sync, *, kind: str = Run.Kind.FULL, trigger: str = "manual", user: User | None = None) -> Run:
    """Queues a run and rings for a worker. ConfigError says what has to be done first."""
    _check(sync, user)
    version = sync.current
    if version is None:
        raise ConfigError(f"The sync {sync.name} has no published mapping. Publish its draft first.")
    try:
        with transaction.atomic():
            run = Run.objects.create(sync=sync, version=version, kind=kind, trigger=trigger, requested_by=user)
            RunPart.objects.create(run=run, kind=RunPart.Kind.PREPARE, priority=1)
            RunPart.objects.create(run=run, kind=RunPart.Kind.RANGE, state=RunPart.State.BLOCKED)
            Sync.objects.filter(pk=sync.pk, blocked_reason__isnull=False).update(blocked_reason=None)
    except IntegrityError as error:
        if "run_one_active" in str(error):
            raise AlreadyRunning from None
        raise
    background.ring(QUEUE)
    return run


def _check(sync: Sync, user: User | None) -> None:
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


def cancel(run: Run) -> None:
    """Workers stop at their next batch; what was recorded stays."""
    with transaction.atomic():
        Run.objects.select_for_update().get(pk=run.pk)
        run.parts.filter(state__in=RunPart.OPEN).update(state=RunPart.State.CANCELLED, lease_until=None)
    from .close import close_run

    close_run(run.pk)
