"""What the app offers to syncs: customers, written by the messages of a log."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, QuerySet
from syncline.contract import ConfigError, Dataset, DatasetInfo, Dependency, Field, Hop, Kind, LocalChange, Op, Segment, Written

from .models import LONGEST, Customer, License
from .writing import batch

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

_TEXT: Final = {"maxLength": LONGEST}
FIELDS: Final = (
    Field(
        "salesforce_id", "Salesforce id", help="Which customer a message concerns.", writable=True, required=True, schema=_TEXT
    ),
    Field("name", "Name", writable=True, schema=_TEXT),
    Field("account_manager", "Account manager", writable=True, schema=_TEXT),
    Field("sales_engineer_id", "Sales engineer's id", writable=True, schema=_TEXT),
    Field("signed_tos", "Terms signed", Kind.BOOLEAN, help="Stays as it is when a message does not tell.", writable=True),
    Field(
        "flags",
        "Flags",
        Kind.JSON,
        help="The whole message, as JSON. Each of its names that is the code of a product licenses it, or no longer.",
        writable=True,
    ),
    Field("skus", "Licensed products", Kind.SET, help="Codes of the active products that the customer holds a licence for."),
    Field("entitled", "Entitled to", Kind.SET, help="The same once the terms are signed, none before."),
    Field("terms_since", "Terms signed since", Kind.DATETIME),
    Field("first_seen", "First seen", Kind.DATETIME, help="When the first message of it happened."),
    Field("last_seen", "Last seen", Kind.DATETIME, help="When the last message of it happened."),
)


def _codes(**needs: Any) -> ArraySubquery:
    held = License.objects.filter(customer=OuterRef("pk"), active=True, sku__active=True, **needs)
    return ArraySubquery(held.order_by("sku__code").values("sku__code"))


class CustomerDataset(Dataset):
    """Customers appear by their first message, and are never deleted."""

    info = DatasetInfo(
        key="licensing.customer",
        label="Customers",
        model="licensing.Customer",
        permission="licensing.view_customer",
        segments=(Segment("", "All"),),
        writes=frozenset({Op.UPSERT}),
        write_permissions=("licensing.add_customer", "licensing.change_customer"),
        fields=FIELDS,
    )
    annotations: Mapping[str, Any] = {"skus": _codes(), "entitled": _codes(customer__signed_tos=True)}
    depends_on = (
        Dependency(
            "licensing_customer",
            columns=("name", "account_manager", "sales_engineer_id", "signed_tos", "terms_since", "flags"),
        ),
        Dependency("licensing_customer", columns=("last_seen",), fields=("last_seen",)),
        Dependency("licensing_license", "customer_id", columns=("active",), fields=("skus", "entitled")),
        Dependency(
            "licensing_sku",
            through=(Hop("licensing_license", "sku_id", "customer_id"),),
            columns=("code", "active"),
            fields=("skus", "entitled"),
        ),
    )

    def rows(self, fields: Collection[str], segment: str = "", owner: AbstractBaseUser | None = None) -> QuerySet[Any]:  # noqa: ARG002
        if segment:
            raise ConfigError(f"licensing.customer has no segment {segment!r}. Choose All in the sync's settings.")
        wanted = {name: value for name, value in self.annotations.items() if name in fields}
        rows: QuerySet[Any] = Customer.objects.order_by().values("id").annotate(**wanted)
        return rows

    def title(self, keys: Collection[str]) -> dict[str, str]:
        wanted = [int(key) for key in keys if key.isdecimal()]
        found = Customer.objects.filter(pk__in=wanted).order_by().values_list("pk", "name", "salesforce_id")
        return {str(key): name.strip() or salesforce_id for key, name, salesforce_id in found}

    def write(self, changes: Sequence[LocalChange], owner: AbstractBaseUser) -> Sequence[Written]:  # noqa: ARG002
        return batch.write(changes, self.info)


DATASETS: Final = (CustomerDataset(),)
