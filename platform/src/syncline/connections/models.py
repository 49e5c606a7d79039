"""What is stored about connectors, vendor apps and connected accounts. Behaviour stands in the modules beside this one."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from copy import copy
from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models

from .vault import EncryptedJSONField, EncryptedTextField

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that reads like another character


def new_installation_key() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(8))


class Installation(models.Model):
    """One row: who this Syncline is, first part of the unique keys it writes into remote records."""

    key = models.CharField(max_length=16, default=new_installation_key, editable=False)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="installation_is_single")]

    def __str__(self) -> str:
        return self.key

    @classmethod
    def current_id(cls) -> str:
        """The installation's key; made at first use, the same ever after."""
        return cls._default_manager.get_or_create(pk=1)[0].key


class VaultCanary(models.Model):
    """One row whose reading proves that the key ring is the right one."""

    probe = EncryptedTextField()

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(pk=1), name="vault_canary_is_single")]

    def __str__(self) -> str:
        return "canary of the key ring"


class ConnectorState(models.Model):
    """Whether an installed connector may be used; a connector without a row may."""

    key = models.SlugField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)

    class Meta:
        verbose_name = "connector"

    def __str__(self) -> str:
        return f"{self.key} ({'on' if self.enabled else 'off'})"


class Registration(models.Model):
    """One vendor app of a connector."""

    connector = models.SlugField(max_length=100, db_index=True)
    name = models.CharField(max_length=200)
    client_id = models.CharField(max_length=500, blank=True, default="")
    client_secret = EncryptedTextField(blank=True, default="")
    redirect_uri = models.CharField(
        max_length=1000,
        blank=True,
        default="",
        help_text="Exactly as it stands in the vendor's app. Empty: this host's public address with /oauth/callback/.",
    )
    settings = models.JSONField(blank=True, default=dict)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connector", "name"], name="registration_name_per_connector")]

    def __str__(self) -> str:
        return f"{self.name} ({self.connector})"


class ConnectionState(models.TextChoices):
    NEW = "new", "not checked yet"
    OK = "ok", "ok"
    RECONNECT = "reconnect", "reconnect needed"
    SETTINGS = "settings", "settings wrong"
    MISSING = "missing", "connector missing"


class Connection(models.Model):
    """One account of a connector that a user connected.

    `token_version` rises with every change of `credentials`; `refresh_owner` and `refresh_lease_until` say who is getting
    a new token now, `refresh_not_before` how long nobody tries again. `state_before` is what a missing connector
    comes back to.

    Other processes change tokens and health at any time, so `save()` writes those columns only where this object's
    values were changed since it was read: saving a new name cannot bring back an old token.
    """

    State = ConnectionState
    SHARED = frozenset(
        {
            *("credentials", "token_version", "token_issued_at", "token_expires_at"),
            *("refresh_owner", "refresh_lease_until", "refresh_not_before"),
            *("account_id", "account_name", "account_url"),
            *("state", "state_before", "state_reason", "checked_at"),
        }
    )

    connector = models.SlugField(max_length=100, db_index=True)
    registration = models.ForeignKey(Registration, on_delete=models.PROTECT, null=True, blank=True, related_name="connections")
    name = models.CharField(max_length=200)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="connections")
    settings = models.JSONField(blank=True, default=dict)

    auth_method = models.CharField(max_length=50, blank=True, default="")
    credentials = EncryptedJSONField(blank=True, null=True, default=None)
    token_version = models.PositiveIntegerField(default=0, editable=False)
    token_issued_at = models.DateTimeField(null=True, blank=True, editable=False)
    token_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_owner = models.CharField(max_length=64, blank=True, default="", editable=False)
    refresh_lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_not_before = models.DateTimeField(null=True, blank=True, editable=False)

    account_id = models.CharField(max_length=200, blank=True, default="", editable=False)
    account_name = models.CharField(max_length=300, blank=True, default="", editable=False)
    account_url = models.CharField(max_length=1000, blank=True, default="", editable=False)

    state = models.CharField(max_length=20, choices=ConnectionState.choices, default=ConnectionState.NEW, editable=False)
    state_before = models.CharField(max_length=20, choices=ConnectionState.choices, blank=True, default="", editable=False)
    state_reason = models.TextField(blank=True, default="", editable=False)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    created = models.DateTimeField(auto_now_add=True)
    modified = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["connector", "name"], name="connection_name_per_connector")]

    def __str__(self) -> str:
        return f"{self.name} ({self.connector})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not (self._state.adding or args or kwargs.get("force_insert")) and kwargs.get("update_fields") is None:
            kwargs["update_fields"] = self._fields_to_save()
        super().save(*args, **kwargs)
        self._remember(self.SHARED)

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Self:
        made = super().from_db(*args, **kwargs)
        made._remember(cls.SHARED)
        return made

    def refresh_from_db(
        self,
        using: str | None = None,
        fields: Iterable[str] | None = None,
        from_queryset: models.QuerySet[Connection] | None = None,
    ) -> None:
        names = None if fields is None else list(fields)
        super().refresh_from_db(using, names, from_queryset)
        self._remember(self.SHARED if names is None else self.SHARED & set(names))

    def _remember(self, names: Iterable[str]) -> None:
        """Keeps copies: credentials can be changed in place."""
        as_read = self.__dict__.setdefault("_as_read", {})
        as_read.update({name: copy(self.__dict__[name]) for name in names if name in self.__dict__})

    def _fields_to_save(self) -> list[str]:
        as_read, here = self.__dict__.get("_as_read", {}), self.__dict__
        same = {name for name, value in as_read.items() if here.get(name) == value}
        own = [field for field in self._meta.concrete_fields if not field.primary_key and field.attname in here]
        return [field.name for field in own if field.name not in same]


class Grant(models.Model):
    """Lets a user, or everybody in a group, see a connection and, with `may_run`, run its syncs."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="connection_grants"
    )
    group = models.ForeignKey(Group, on_delete=models.CASCADE, null=True, blank=True, related_name="connection_grants")
    may_run = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(group__isnull=True), name="grant_user_or_group"
            ),
            models.UniqueConstraint(fields=["connection", "user"], name="grant_once_per_user"),
            models.UniqueConstraint(fields=["connection", "group"], name="grant_once_per_group"),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group}: {'run' if self.may_run else 'see'}"


class OAuthState(models.Model):
    """One attempt to connect by OAuth. Holds digests of the state and of the session that began it, never themselves."""

    digest = models.CharField(max_length=64, unique=True)
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="oauth_states")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    session_digest = models.CharField(max_length=64)
    auth_method = models.CharField(max_length=50)
    code_verifier = EncryptedTextField(blank=True, default="")
    redirect_uri = models.CharField(max_length=1000)
    created = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.connection} by {self.user} at {self.created:%Y-%m-%d %H:%M}"
