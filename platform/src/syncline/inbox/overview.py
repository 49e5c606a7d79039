"""What of the inbox a person may see, and how much of it needs attention."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db.models import Count, Q, QuerySet, Sum

from syncline.connections import access

from .models import Delivery, InboxEvent, Refusal, WebhookAddress

State = InboxEvent.State
REGISTRATIONS = "syncline.view_registration"


def visible_addresses(user: User) -> QuerySet[WebhookAddress]:
    """Addresses of visible connections; those of registrations for who may see registrations."""
    mine = Q(connection__in=access.visible_connections(user))
    if user.has_perm(REGISTRATIONS):
        mine |= Q(registration__isnull=False)
    return WebhookAddress.objects.filter(mine)


def visible_events(user: User) -> QuerySet[InboxEvent]:
    """Those of visible connections; those of none for who may see the address."""
    if user.is_superuser:
        return InboxEvent.objects.all()
    nobodys = Q(connection__isnull=True, delivery__address__in=visible_addresses(user))
    return InboxEvent.objects.filter(Q(connection__in=access.visible_connections(user)) | nobodys)


def visible_deliveries(user: User) -> QuerySet[Delivery]:
    """One to a vendor app's address tells of many accounts: seen by who may see the address, not by who sees one of them."""
    if user.is_superuser:
        return Delivery.objects.all()
    return Delivery.objects.filter(address__in=visible_addresses(user))


def counts(user: User) -> Mapping[str, int]:
    """Events that wait, were given up or found no connection; deliveries that wait to be read or could not be;
    refusals of today."""
    wanted = (State.WAITING, State.DEAD, State.UNROUTABLE)
    events = visible_events(user).filter(state__in=wanted).order_by().values_list("state")
    found: dict[str, int] = dict(events.annotate(Count("pk")))
    today = Refusal.objects.filter(address__in=visible_addresses(user), day=dt.datetime.now(dt.UTC).date())
    unread = dict.fromkeys((Delivery.State.STORED, Delivery.State.UNREADABLE), 0)
    deliveries = visible_deliveries(user).filter(state__in=unread).order_by().values_list("state")
    return {
        **{state.value: found.get(state, 0) for state in wanted},
        **{state.value: number for state, number in {**unread, **dict(deliveries.annotate(Count("pk")))}.items()},
        "refused": today.aggregate(all=Sum("count"))["all"] or 0,
    }
