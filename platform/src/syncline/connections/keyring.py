"""The ring of keys that encrypts credentials at rest: settings.SYNCLINE_KEYS, the first encrypts, all of them decrypt."""

from __future__ import annotations

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from syncline.contract import ConfigError


class KeyRingError(ConfigError):
    """The keys in SYNCLINE_KEYS are not in order. Correct them and start again."""


class NoKey(KeyRingError):
    """There is no key to encrypt credentials with. Put at least one into SYNCLINE_KEYS and start again."""


class BadKey(KeyRingError):
    """A key in SYNCLINE_KEYS is not a Fernet key (44 characters of URL-safe base64). Replace it and start again."""


class WrongKey(KeyRingError):
    """Stored credentials cannot be read with the keys in SYNCLINE_KEYS. Put the key they were stored with back into the ring."""


def encrypt(text: str) -> str:
    """Ciphertext under the current key."""
    return _ring(_keys()).encrypt(text.encode()).decode()


def decrypt(token: str, where: str = "") -> str:
    """The text behind a ciphertext; WrongKey, never the ciphertext, when no key fits."""
    try:
        return _ring(_keys()).decrypt(token).decode()
    except InvalidToken:
        raise WrongKey(f"{where}: {WrongKey.__doc__}" if where else "") from None


def is_current(token: str) -> bool:
    """Whether the current key alone reads it, so that it need not be rotated."""
    try:
        Fernet(_keys()[0]).decrypt(token)
    except InvalidToken:
        return False
    return True


def rotated(token: str, where: str = "") -> str:
    """The same secret under the current key."""
    return encrypt(decrypt(token, where))


def fingerprint() -> tuple[str, ...]:
    """Tells one ring from another within this process."""
    return _keys()


def _keys() -> tuple[str, ...]:
    keys = tuple(getattr(settings, "SYNCLINE_KEYS", ()) or ())
    if not keys:
        raise NoKey
    return keys


@lru_cache(maxsize=4)
def _ring(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError:
        raise BadKey from None
