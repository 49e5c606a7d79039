"""Host-side records that a Django app offers to syncs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import UnsupportedFeature
from .values import Choice, Kind, Op, RecordError, Status, Value

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from django.db.models import Model, QuerySet


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a dataset's rows.

    `reference`: for Kind.REFERENCE, the key of the dataset whose local key the value is; `many`: the value is a list.
    `writable`: `Dataset.write` takes it. `required`: a record cannot be created without it. `schema`: JSON Schema that a value
    written must keep to, as in Property.
    """

    name: str
    label: str
    kind: Kind = Kind.STRING
    reference: str = ""
    many: bool = False
    choices: tuple[Choice, ...] = ()
    help: str = ""
    writable: bool = False
    required: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict, hash=False)


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
    `writes`: what `Dataset.write` can do, of CREATE, UPDATE and DELETE; empty where nothing can be pulled into it. UPSERT: it
    takes messages of logs, and finds the record that each concerns by its values.
    `write_permissions`: `app.codename` each, which the connection's owner needs for pulls into it.
    `modified`: name of the field that holds when a record was last changed here, as a datetime with a time zone; "" when there
    is none. Of a record where it is anything else, nobody knows: what both sides changed is then for review.
    `log`: its rows are messages: written once, never changed, and passed on in order by continuous syncs.
    """

    key: str
    label: str
    fields: tuple[Field, ...]
    segments: tuple[Segment, ...] = ()
    permission: str = ""
    model: str = ""
    writes: frozenset[Op] = frozenset()
    write_permissions: tuple[str, ...] = ()
    modified: str = ""
    log: bool = False

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)


@dataclass(frozen=True, slots=True)
class LocalChange:
    """One record to be written here, by a pull.

    `token` names it in the answer. UPDATE and DELETE have a `local_key`, CREATE has none. `values`: field → value, canonical by
    the field's kind and only those to be written; None clears. A reference is a local key of its dataset, or with `many` a
    tuple of all of them.
    UPSERT is one message of a log: no `local_key`, and of those that concern one record a batch may have several, in their order.
    `sequence`: as in Message: what is not higher than that of the last one applied to its record is UNCHANGED; None is applied.
    `at`: when it happened, UTC. `event`: the message's id.
    """

    token: str
    op: Op
    local_key: str | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    sequence: int | None = None
    at: dt.datetime | None = None
    event: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the change with this `token`: CREATED, UPDATED (deleted ones too), UNCHANGED, or REJECTED with `error`.

    `local_key`: of the record, if there is one; a writer may find that what is to be created is there.
    """

    token: str
    status: Status
    local_key: str | None = None
    error: RecordError | None = None


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

    def find(self, field: str, values: Collection[str]) -> QuerySet[Any] | None:  # noqa: ARG002 - for those that override it
        """Rows that may hold one of these normalised values in that field: too many do no harm, a missing one does.

        A queryset like that of `rows`, found quickly. None where there is no quick way: then all rows are gone through.
        """
        return None

    def write(self, changes: Sequence[LocalChange], owner: AbstractBaseUser) -> Sequence[Written]:  # noqa: ARG002
        """Writes a batch and gives one answer per change, found by token. Set-based: a batch has up to some thousand changes.

        Runs inside the host's transaction and savepoint: no commit, no call to the outside. Says REJECTED of what it will not
        store. When it raises, nothing of the batch is stored, and the host tries it again in halves, so that in the end only
        the records that raise are refused. `owner`: the connection's owner, on whose behalf it is written.
        """
        raise UnsupportedFeature(f"Nothing can be pulled into {self.info.label}. Choose another dataset, or push it.")
