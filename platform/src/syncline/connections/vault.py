"""Model fields that encrypt, and the canary that notices a wrong key ring before anything is stored under it.

In the database and in dumps a value is `vault:1:<Fernet token>`; in Python it is a SecretText or SecretDict; on pages and
in forms it is a mask. None is stored as NULL, "" and {} are values like any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django import forms
from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from . import keyring
from .secrets import SecretDict, SecretText, reveal

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    Base = models.TextField[Any, Any]
else:
    Base = models.TextField

PREFIX = "vault:1:"
CANARY_TEXT = "syncline"


class _Wrapping(DeferredAttribute):
    """Puts what is assigned to the field into its masked form, so that an unsaved object leaks as little as a stored one."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        field: _EncryptedField = self.field  # type: ignore[assignment]
        instance.__dict__[field.attname] = field.wrap(value)


class _EncryptedField(Base):
    """Base of the encrypted fields: a text column that cannot be searched, only asked for NULL."""

    descriptor_class = _Wrapping

    def wrap(self, value: Any) -> Any:
        raise NotImplementedError

    def to_text(self, value: Any) -> str:
        raise NotImplementedError

    def from_text(self, text: str) -> Any:
        raise NotImplementedError

    def where(self) -> str:
        return f"{self.model._meta.label}.{self.name}"

    def seal(self, value: Any) -> str | None:
        return None if value is None else PREFIX + keyring.encrypt(self.to_text(value))

    def unseal(self, stored: str) -> Any:
        if not stored.startswith(PREFIX):
            raise keyring.WrongKey(f"{self.where()} holds a value that is not encrypted. Clear it and store the secret again.")
        return self.from_text(keyring.decrypt(stored.removeprefix(PREFIX), self.where()))

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Any:  # noqa: ARG002
        return None if value is None else self.unseal(value)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        if value is None or hasattr(value, "as_sql"):
            return super().get_db_prep_save(value, connection)
        if self.model is not canary_model():
            verify()
        return self.seal(value)

    def to_python(self, value: Any) -> Any:
        """Reads a dump's ciphertext as well as a plain value."""
        if isinstance(value, str) and not isinstance(value, SecretText) and value.startswith(PREFIX):
            return self.unseal(value)
        return self.wrap(value)

    def value_to_string(self, obj: models.Model) -> str:
        """What dumpdata writes: ciphertext, useless without the key ring."""
        return self.seal(self.value_from_object(obj)) or ""

    def get_lookup(self, lookup_name: str) -> Any:
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None

    def get_transform(self, lookup_name: str) -> Any:  # noqa: ARG002
        return None

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        """An input left empty keeps what is stored."""
        if data not in self.empty_values:
            super().save_form_data(instance, data)

    def formfield(self, **kwargs: Any) -> Any:
        kwargs.update(widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}), required=False)
        kwargs.setdefault("help_text", self.help_text or "Leave empty to keep what is stored.")
        return super().formfield(**kwargs)


class EncryptedTextField(_EncryptedField):
    """Text, encrypted at rest; a SecretText in Python."""

    if TYPE_CHECKING:
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def wrap(self, value: Any) -> Any:
        return SecretText(value) if isinstance(value, str) and not isinstance(value, SecretText) else value

    def to_text(self, value: Any) -> str:
        return reveal(value)

    def from_text(self, text: str) -> SecretText:
        return SecretText(text)


class EncryptedJSONField(_EncryptedField):
    """A JSON object, encrypted at rest; a SecretDict in Python."""

    if TYPE_CHECKING:
        _pyi_private_set_type: Any
        _pyi_private_get_type: Any

    def wrap(self, value: Any) -> Any:
        if isinstance(value, str):
            value = _parsed(value)
        return SecretDict(value) if isinstance(value, dict) and not isinstance(value, SecretDict) else value

    def to_text(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    def from_text(self, text: str) -> SecretDict:
        return SecretDict(json.loads(text))


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValidationError("This must be a JSON object.")
    return value


def canary_model() -> type[models.Model]:
    return apps.get_model("syncline", "VaultCanary")


_verified: set[tuple[str, ...]] = set()


def verify() -> None:
    """WrongKey, NoKey or BadKey when this process may not store secrets in this database; asks once per key ring."""
    ring = keyring.fingerprint()
    if ring not in _verified and probe():
        _verified.add(ring)


def probe() -> bool:
    """Reads the canary; False when there is none yet. Raises when the key ring cannot read it."""
    canary = canary_model()._default_manager.first()
    return canary is not None and bool(canary.pk)


def plant_canary() -> None:
    """Stores the canary if there is none; its reading proves later key rings."""
    canary_model()._default_manager.get_or_create(pk=1, defaults={"probe": CANARY_TEXT})


def encrypted_fields() -> Iterator[tuple[type[models.Model], _EncryptedField]]:
    """Every encrypted column of every installed app."""
    for model in apps.get_models():
        for field in model._meta.concrete_fields:
            if isinstance(field, _EncryptedField):
                yield model, field
