"""Host-side records that a Django app offers to syncs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .values import Choice, Kind

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model, QuerySet


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a dataset's rows.

    `reference`: for Kind.REFERENCE, the key of the dataset whose local key the value is; `many`: the value is a list.
    """

    name: str
    label: str
    kind: Kind = Kind.STRING
    reference: str = ""
    many: bool = False
    choices: tuple[Choice, ...] = ()
    help: str = ""


@dataclass(frozen=True, slots=True)
class Segment:
    """A named filter of the dataset. `needs_owner`: it depends on the connection's owner."""

    key: str
    label: str
    needs_owner: bool = False


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What a dataset looks like, without its rows.

    `key`: `<app label>.<name>`, immutable. `permission`: `app.codename` a person needs to publish or run a sync of it.
    `model`: label of the Django model whose admin page shows the record panel.
    """

    key: str
    label: str
    fields: tuple[Field, ...]
    segments: tuple[Segment, ...] = ()
    permission: str = ""
    model: str = ""

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)


class Dataset:
    """State: rows with an immutable key. Subclass it and give it to `register_datasets`."""

    info: DatasetInfo
    #: Column of `rows()` that is unique, immutable and indexed: rows are read in its order, in chunks.
    key_field: str = "id"

    def rows(self, fields: Collection[str], segment: str = "", owner: AbstractBaseUser | None = None) -> QuerySet[Any]:
        """A queryset of the segment's rows on which `.values(key_field, *fields)` works.

        Annotate what is not a column, with one correlated subquery per aggregate, and only the fields asked for.
        Do not order, slice or evaluate. An unknown segment raises ConfigError.
        """
        raise NotImplementedError

    def record_key(self, instance: Model) -> str:
        """The local key under which this model instance is synced (an instance may be part of another's record)."""
        return str(instance.pk)

    def title(self, keys: Collection[str]) -> dict[str, str]:
        """A short name for each local key, for lists in the admin; one query."""
        raise NotImplementedError
