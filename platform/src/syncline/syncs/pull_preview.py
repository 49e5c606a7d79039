"""What a draft would make of one remote record, asked for by its id."""

from __future__ import annotations

from syncline.catalog import service as catalog
from syncline.connections.sessions import open_session
from syncline.contract import ConfigError
from syncline.registry import connector, dataset

from .engine.preview import Preview, PullPreviewPlan
from .models import Sync
from .publish import draft_content


def preview(sync: Sync, remote_id: str) -> Preview:
    """One call. ConfigError when there is no such record, or when the connector cannot tell the values of given records."""
    object_type, found = catalog.object_type(sync.connection, sync.object_type), connector(sync.connection.connector)
    if "fetch" not in found.implements:
        raise ConfigError(f"{found.title} cannot tell the values of given records, so that there is nothing to preview.")
    plan = PullPreviewPlan(draft_content(sync), dataset(sync.dataset).info, object_type)
    records = found.call.fetch(
        session=open_session(sync.connection),
        object_type=object_type,
        ids=[remote_id],
        properties=list(plan.properties),
        associations=list(plan.associations),
        history=(),
    )
    record = records.get(remote_id)
    if record is None:
        raise ConfigError(f"{sync.connection.name} has no {object_type.title} with the id {remote_id!r}. Give another id.")
    return plan.show(record)
