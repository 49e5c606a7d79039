"""Who sees and who runs a connection: its owner, those with a grant, superusers."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from .models import Connection, Grant

Person = User | AnonymousUser


def visible_connections(user: Person) -> QuerySet[Connection]:
    """The connections this person may know of; none for an anonymous or inactive one."""
    if not user.is_active:
        return Connection.objects.none()
    if user.is_superuser:
        return Connection.objects.all()
    return Connection.objects.filter(Q(owner_id=user.pk) | Exists(_grants(user).filter(connection=OuterRef("pk"))))


def may_see(user: Person, connection: Connection) -> bool:
    return visible_connections(user).filter(pk=connection.pk).exists()


def may_run(user: Person, connection: Connection) -> bool:
    """Whether this person may start syncs over the connection."""
    if may_change(user, connection):
        return True
    return user.is_active and _grants(user).filter(connection=connection.pk, may_run=True).exists()


def may_change(user: Person, connection: Connection) -> bool:
    """Whether this person may connect it, change its settings and give grants: the owner and superusers."""
    return user.is_active and (user.is_superuser or connection.owner_id == user.pk)


def parked_reason(connection: Connection) -> str:
    """Why nothing runs over the connection for the moment, "" when it may."""
    if connection.owner_id and not connection.owner.is_active:
        return f"{connection.name} is parked: its owner {connection.owner} is inactive. Give it to another owner."
    return ""


def _grants(user: Person) -> QuerySet[Grant]:
    mine = Q(user_id=user.pk) | Q(group__in=user.groups.all())
    return Grant.objects.filter(mine)
