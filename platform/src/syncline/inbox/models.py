"""Addresses that vendors deliver to, what they delivered, and what was refused."""

from __future__ import annotations

import secrets

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from syncline.connections.models import Connection, Registration
from syncline.connections.vault import EncryptedJSONField


def new_slug() -> str:
    """190 bits: whoever does not know the address does not find it."""
    return secrets.token_urlsafe(24)


class WebhookAddress(models.Model):
    """Where one vendor app, or one account, delivers to. Its names (see AddressName) are the last part of its URLs.

    `secrets`: {"signing": [the newest first]}; the client secret of its registration counts as one more. `readings`: of unread
    deliveries, begun and not ended; negative after one that ended and was careful, as the next ones are up to `careful_until`.
    """

    registration = models.ForeignKey(Registration, models.CASCADE, null=True, blank=True, related_name="webhook_addresses")
    connection = models.ForeignKey(Connection, models.CASCADE, null=True, blank=True, related_name="webhook_addresses")
    enabled = models.BooleanField(default=True)
    secrets = EncryptedJSONField(blank=True, null=True, default=None)
    readings = models.SmallIntegerField(default=0, db_default=0, editable=False)
    careful_until = models.BigIntegerField(null=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "webhook addresses"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(registration__isnull=True) ^ models.Q(connection__isnull=True),
                name="address_registration_or_connection",
            ),
            models.UniqueConstraint(fields=["registration"], name="address_per_registration"),
            models.UniqueConstraint(fields=["connection"], name="address_per_connection"),
        )

    def __str__(self) -> str:
        return f"webhook address of {self.registration or self.connection}"

    @property
    def connector(self) -> str:
        owner = self.registration or self.connection
        assert owner is not None  # a constraint
        return owner.connector


class AddressName(models.Model):
    """A name that leads to an address: its present one (`current`), or an alias, such as an earlier one."""

    slug = models.CharField(max_length=100, unique=True, default=new_slug)
    address = models.ForeignKey(WebhookAddress, models.CASCADE, related_name="names")
    current = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["address"], name="address_current_name", condition=models.Q(current=True)),
        )

    def __str__(self) -> str:
        return f"name of {self.address_id}"


class Delivery(models.Model):
    """One request of a vendor, byte for byte. `headers`: without what proves who somebody is, such as cookies.

    The address has no constraint in the database: checking it would make all deliveries of an address wait for one another.
    """

    class State(models.TextChoices):
        STORED = "stored", "waits to be read"
        READ = "read", "read"
        REPEATED = "repeated", "delivered before"
        UNREADABLE = "unreadable", "could not be read"

    id = models.BigAutoField(primary_key=True)
    address = models.ForeignKey(WebhookAddress, models.CASCADE, related_name="deliveries", db_constraint=False, db_index=False)
    method = models.CharField(max_length=10)
    url = models.TextField()
    headers = models.JSONField(default=dict)
    body = models.BinaryField()
    size = models.PositiveIntegerField()
    state = models.CharField(max_length=10, choices=State.choices)
    cause = models.TextField(default="", db_default="", blank=True)
    received_at = models.DateTimeField()
    replayed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = (
            BrinIndex(fields=["received_at"], name="delivery_received"),
            models.Index(fields=["address", "-id"], name="delivery_latest"),
            models.Index(fields=["address", "id"], name="delivery_unread", condition=models.Q(state="stored")),
        )

    def __str__(self) -> str:
        return f"delivery {self.pk}"


class InboxEvent(models.Model):
    """One event of a delivery, once for each connection that it concerns; without one when it found none.

    `position`: within the delivery. `replay`: made from stored bytes, whatever was delivered before. The other fields are those
    of the contract's Event.
    """

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        DONE = "done", "done"
        IGNORED = "ignored", "no sync wants it"
        UNKNOWN = "unknown", "of an unknown kind"
        UNROUTABLE = "unroutable", "of no connected account"
        DEAD = "dead", "given up"
        REPLAYED = "replayed", "replayed"

    id = models.BigAutoField(primary_key=True)
    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="events", db_constraint=False, db_index=False)
    position = models.PositiveIntegerField()
    connection = models.ForeignKey(
        Connection,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="inbox_events",
        db_constraint=False,
        db_index=False,
    )
    kind = models.CharField(max_length=20)
    object_type = models.TextField(default="", db_default="", blank=True)
    remote_id = models.TextField(default="", db_default="", blank=True)
    others = models.JSONField(default=list, db_default=[])
    key = models.TextField(default="", db_default="", blank=True)
    account = models.TextField(default="", db_default="", blank=True)
    occurred_at = models.DateTimeField(null=True, blank=True)
    data = models.JSONField(default=dict, db_default={})
    state = models.CharField(max_length=10, choices=State.choices)
    replay = models.BooleanField(default=False, db_default=False)
    attempts = models.SmallIntegerField(default=0, db_default=0)
    not_before = models.DateTimeField(db_default=Now())
    last_error = models.TextField(default="", db_default="", blank=True)
    received_at = models.DateTimeField(db_default=Now())
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "event"
        indexes = (
            models.Index(fields=["connection", "object_type", "id"], name="event_waiting", condition=models.Q(state="waiting")),
            models.Index(
                fields=["state", "-id"],
                name="event_trouble",
                condition=models.Q(state__in=["dead", "unroutable", "unknown"]),
            ),
            models.Index(fields=["delivery", "position"], name="event_of_delivery"),
            models.Index(fields=["connection", "-id"], name="event_latest"),
        )

    def __str__(self) -> str:
        return f"event {self.pk}"


class InboxKey(models.Model):
    """The vendor's name of an event that was stored: what bears it is not stored again."""

    id = models.BigAutoField(primary_key=True)
    address = models.ForeignKey(WebhookAddress, models.CASCADE, related_name="keys", db_constraint=False, db_index=False)
    key = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["address", "key"], name="inbox_key"),)
        indexes = (BrinIndex(fields=["at"], name="inbox_key_age"),)

    def __str__(self) -> str:
        return f"key {self.pk}"


class Refusal(models.Model):
    """How often an address refused something for one cause on one day; of what was refused nothing else is kept."""

    address = models.ForeignKey(WebhookAddress, models.CASCADE, related_name="refusals")
    cause = models.CharField(max_length=20)
    day = models.DateField()
    count = models.BigIntegerField(default=0)
    last_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = (models.UniqueConstraint(fields=["address", "cause", "day"], name="refusal_per_day"),)

    def __str__(self) -> str:
        return f"{self.cause} on {self.day}"
