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


@dataclass(frozen=True, slots=True)
class Hop:
    """On to the rows of `table` whose `column` equals the value at hand, taking `take` from them.

    `column` needs an index: one look-up is made for each value. All three are names in the database, not of the model.
    """

    table: str
    column: str
    take: str


@dataclass(frozen=True, slots=True)
class Dependency:
    """Which records are concerned when a row of `table` changes: from its `column`, through the hops, to their local keys.

    `table`, `column`: names in the database (`Model._meta.db_table`, `field.column`), so that a foreign key is `country_id`.
    The row as it was and as it is are both followed: a deal that moves concerns two companies. Too many keys do no harm (a
    record about which nothing changed is read and left alone, a key that is no record is passed over), a missing one does.
    `columns`: an update counts only when one of these changed; empty means that every update does.
    `fields`, `segments`: it matters only to syncs that read one of these fields, or use one of these segments; both empty
    means to all.
    """

    table: str
    column: str = "id"
    through: tuple[Hop, ...] = ()
    columns: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()

    def concerns(self, fields: Collection[str] | None, segment: str) -> bool:
        """Whether it matters to a sync that reads these fields (None: not known) of this segment."""
        if fields is None or not (self.fields or self.segments):
            return True
        return segment in self.segments or not set(fields).isdisjoint(self.fields)


class Dataset:
    """State: rows with an immutable key. Subclass it and give it to `register_datasets`."""

    info: DatasetInfo
    #: Column of `rows()` that is unique, immutable and indexed: rows are read in its order, in chunks.
    key_field: str = "id"
    #: All that makes a record of `rows()` appear, change or vanish. A dataset without it cannot be watched for changes.
    depends_on: tuple[Dependency, ...] = ()

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
