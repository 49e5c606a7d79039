"""What people do on the pages of pulls and two-way syncs, and what they find there."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pulling.world import World
from syncline.connections.models import Grant
from syncline.ledger.pulled import Arrival, Conflict
from syncline.runs import execute
from syncline.runs.models import Run
from syncline.syncs.models import Sync


def page(client: Client, name: str, *args: Any, **query: str) -> str:
    answer = client.get(reverse(f"admin:syncline_{name}", args=args), query)
    assert answer.status_code == 200
    return answer.content.decode()


def do(client: Client, model: str, pk: int, name: str, **data: str) -> str:
    return client.post(reverse(f"admin:syncline_{model}_do", args=[pk, name]), data, follow=True).content.decode()


def chosen(client: Client, model: str, action: str, pks: list[int]) -> str:
    data = {"action": action, "_selected_action": [str(pk) for pk in pks], "index": "0"}
    return client.post(reverse(f"admin:syncline_{model}_changelist"), data, follow=True).content.decode()


def queries(client: Client, address: str) -> int:
    client.get(address)  # fills what is cached
    with CaptureQueriesContext(connection) as seen:
        assert client.get(address).status_code == 200
    return len(seen)


def granted(world: World, *permissions: str, may_run: bool = True) -> User:
    """Somebody else on the staff, with a grant for the connection."""
    user = User.objects.create_user("ann", "ann@example.org", "p", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    Grant.objects.create(connection=world.connection, user=user, may_run=may_run)
    return user


def doubtful(world: World, number: int = 1) -> tuple[Sync, list[Arrival]]:
    """Records there that have their e-mail address in common with two of ours each."""
    for n in range(number):
        for twin in "ab":
            User.objects.create(username=f"u{n}{twin}", first_name=f"Ours {n}{twin}", email=f"same{n}@example.org")
        world.vendor.seed("people", name=f"Theirs {n}", email=f"same{n}@example.org", city="There")
    sync = world.pulling()
    world.run(sync)
    return sync, list(Arrival.objects.order_by("pk"))


def clashing(world: World, number: int = 1) -> tuple[Sync, list[Conflict]]:
    ids = [world.vendor.seed("people", name=f"Name {n}", email=f"p{n}@example.org", city="Before") for n in range(number)]
    sync = world.pulling("two_way")
    world.run(sync)
    User.objects.filter(is_staff=False).update(last_name="Ours")
    for id_ in ids:
        world.vendor.edit(id_, city="Theirs")
    world.run(sync)
    return sync, list(Conflict.objects.order_by("pk"))


def drained() -> None:
    for _ in range(20):
        execute.work(20)
        if not Run.objects.filter(state__in=Run.ACTIVE).exists():
            return
    pytest.fail("Runs do not come to their end.")
