"""The inbox as a log dataset: what vendors told, to be passed on by continuous syncs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db.models import F, QuerySet

from syncline.contract import Dataset, DatasetInfo, Field, Kind

from .models import InboxEvent

KEY: Final = "syncline.inbox"

_INFO = DatasetInfo(
    key=KEY,
    label="Inbox: what a system told us",
    fields=(
        Field("data", "What it says", Kind.JSON, help="All of a message; of other events, what the vendor tells besides."),
        Field("kind", "Kind"),
        Field("object", "Object"),
        Field("remote_id", "Remote id", help="Messages about one id keep their order."),
        Field("account", "Account"),
        Field("vendor_key", "The vendor's name for it"),
        Field("occurred_at", "Occurred at", Kind.DATETIME),
        Field("received_at", "Received at", Kind.DATETIME),
    ),
    permission="syncline.view_inboxevent",
    log=True,
)
#: Fields whose column has another name.
_COLUMNS: Final = {"object": "object_type", "vendor_key": "key"}


class InboxLog(Dataset):
    info = _INFO

    def rows(self, fields: Collection[str], segment: str = "", owner: AbstractBaseUser | None = None) -> QuerySet[Any]:  # noqa: ARG002
        named = {name: F(column) for name, column in _COLUMNS.items() if name in fields}
        return InboxEvent.objects.annotate(**named)

    def title(self, keys: Collection[str]) -> dict[str, str]:
        found = InboxEvent.objects.filter(pk__in=keys).values_list("pk", "object_type", "remote_id")
        return {str(pk): f"{object_type} {remote_id}".strip() or str(pk) for pk, object_type, remote_id in found}
