"""Keys by which programs use the API as a person does; only a digest of each is kept.

A key is 256 random bits, so a plain SHA-256 of it cannot be turned back.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models.functions import Now
from django.utils import timezone

MARK: Final = "slk"
#: Seconds after which a use is noted again: of a busy key not every use costs a write.
NOTED: Final = 60


class ApiKey(models.Model):
    """`user`: whose rights it has, as long as that user is active. `prefix`: its public part, by which people tell keys apart."""

    label = models.CharField(max_length=100, help_text="Who uses it and what for, such as “Feature flags of the shop”.")
    prefix = models.CharField(max_length=20, unique=True, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="api_keys",
        help_text="The key has this user's rights. Give a program a user of its own with just the permissions it needs.",
    )
    read_only = models.BooleanField(default=True, help_text="It may only read, whatever its user may do.")
    created = models.DateTimeField(auto_now_add=True)
    expires = models.DateTimeField(null=True, blank=True, help_text="UTC. Empty: until it is revoked.")
    revoked = models.DateTimeField(null=True, blank=True, editable=False)
    last_used = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.label} ({MARK}_{self.prefix}_…)"

    @property
    def holds(self) -> bool:
        return not (self.revoked or (self.expires and self.expires <= timezone.now()))


def issue(key: ApiKey) -> str:
    """Stores the key and gives its text, which nobody can find out again."""
    key.prefix, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    text = f"{MARK}_{key.prefix}_{secret}"
    key.digest = digest(text)
    key.save()
    return text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def find(text: str) -> ApiKey | None:
    """The key with this text and its user, if it holds and the user is active. Notes that it was used."""
    mark, _, rest = text.partition("_")
    prefix = rest.partition("_")[0]
    if mark != MARK or not (prefix.isascii() and prefix.isalnum()):
        return None
    found = ApiKey.objects.select_related("user").filter(prefix=prefix).first()
    if found is None or not hmac.compare_digest(found.digest, digest(text)):
        return None
    if not (found.holds and found.user.is_active):
        return None
    _note(found)
    return found


def _note(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used is None or (now - key.last_used).total_seconds() >= NOTED:
        ApiKey.objects.filter(pk=key.pk).update(last_used=Now())


def revoke(keys: models.QuerySet[ApiKey]) -> int:
    """They hold no more, in other processes within a second; gives how many held before."""
    return keys.filter(revoked=None).update(revoked=Now())


def manageable(user: User) -> models.QuerySet[ApiKey]:
    """One's own; for superusers everybody's: who could make a key for somebody else would have that person's rights."""
    return ApiKey.objects.all() if user.is_superuser else ApiKey.objects.filter(user=user.pk)
