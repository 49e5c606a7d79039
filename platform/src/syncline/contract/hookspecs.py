"""Every hook of the contract. A connector subclasses `ConnectorSpec` and marks what it implements with `@hookimpl`.

The host calls hooks by keyword only. Each connector has a plugin manager of its own; app hooks share one (broadcast).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import pluggy

from .connector import Account, AuthMethod, ConnectorInfo, Sandbox
from .dataset import Dataset, DatasetInfo
from .http import Session
from .mapping import SuggestedMapping
from .values import BulkJob, Change, Collected, ObjectType, Page, Property, PullRequest, PushResult, RemoteRecord, Value
from .webhooks import Answer, Event, Receipt, Verification, WebhookRequest

PROJECT = "syncline"
CONTRACT_VERSION = "1.0"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class ConnectorSpec:
    """Base class of every connector."""

    @hookspec(firstresult=True)
    def describe(self) -> ConnectorInfo:
        """Says who the connector is; pure, called at start."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def auth_methods(self) -> Sequence[AuthMethod]:
        """Lists the ways to connect an account, the preferred one first; pure."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def check(self, session: Session) -> Account:
        """Proves the credentials and names the remote account; AuthError when refused."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def discover(self, session: Session) -> Sequence[ObjectType]:
        """Lists the account's objects with all properties, custom ones included."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def suggest_mapping(self, dataset: DatasetInfo, object_type: ObjectType) -> SuggestedMapping:
        """Gives default rules for a known pair, an empty SuggestedMapping for any other; pure."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def create_properties(self, session: Session, object_type: ObjectType, properties: Sequence[Property]) -> Sequence[str]:
        """Creates the missing ones and gives the names created; those that exist already are left as they are."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        """Writes one batch, all of one operation and at most its batch size; one result per change.

        Raises Permanent when the batch was refused as a whole (the host splits it), OutcomeUnknown when it may have been
        carried out, Retryable when it certainly was not.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def submit(self, session: Session, object_type: ObjectType, job: BulkJob) -> str:
        """Hands a bulk job to the vendor and gives a token by which `collect` finds it, in any process.

        With `job.perhaps_sent` the vendor's list of jobs is searched for the name first, and a job found is not sent again.
        Raises OutcomeUnknown when the job may have arrived, Permanent when it was refused as a whole.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def collect(self, session: Session, object_type: ObjectType, token: str, keys: Iterable[str]) -> Iterator[Collected]:
        """Yields one Collected with `after` while the job is going on; when it has ended, a result for each of `keys`.

        `keys`: the unique keys whose results are wanted, read as they are needed; those that came up meanwhile are left out.
        A key of which the ended job left neither a record nor an error is NOT_SENT. May be called any number of times.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def fetch(
        self,
        session: Session,
        object_type: ObjectType,
        ids: Sequence[str],
        properties: Sequence[str],
        associations: Sequence[str],
        history: Sequence[str],
    ) -> Mapping[str, RemoteRecord]:
        """Reads current values by id asked for; an id that is gone is left out, a merged one gives the survivor.

        `associations`: object types whose associations are wanted too. `history` (only where the object says `pull_history`):
        properties whose earlier values are wanted.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def match(self, session: Session, object_type: ObjectType, step: str, values: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Finds remote ids by normalised values of the property named `step`: none, one or several for each.

        Only where that is certain, not by an index that lags. UnsupportedFeature for any other property.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def pull(self, session: Session, object_type: ObjectType, request: PullRequest) -> Iterator[Page]:
        """Yields pages of current records from the position on, each with the position after it."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def partitions(self, session: Session, object_type: ObjectType) -> Sequence[str]:
        """Names the parts in which the object is pulled, each by itself and in its own order; none: it is pulled in one."""
        raise NotImplementedError

    @hookspec(firstresult=True)
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        """Says whether one of the secrets signed these very bytes, lately; pure, in constant time for each secret.

        `secrets`: the newest first; several while they are being exchanged, never none.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        """Reads the events of a delivery; pure. What it does not know is an event of kind UNKNOWN.

        Permanent when the body is nothing that can be read.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
        """Answers a delivery as the vendor wants it, challenges included; pure.

        `events`: none unless they were read and stored.
        """
        raise NotImplementedError

    @hookspec(firstresult=True)
    def sandbox(self) -> Sandbox:
        """Says how to start a local server that behaves like the vendor."""
        raise NotImplementedError


class AppSpec:
    """Hooks of a business app; its AppConfig is the plugin."""

    @hookspec
    def register_datasets(self, register: Callable[[Dataset], None]) -> None:
        """Calls `register` once for each dataset the app offers."""

    @hookspec
    def api_routes(self) -> Sequence[object]:
        """Gives the app's URL patterns, mounted at /api/v1/<app label>/."""
        raise NotImplementedError

    @hookspec
    def api_root_routes(self) -> Sequence[object]:
        """Gives URL patterns mounted at /api/v1/ itself, behind all others: for addresses that others agreed on.

        They can take the place of no address of the host or of an app's `api_routes`.
        """
        raise NotImplementedError


__all__ = ["CONTRACT_VERSION", "PROJECT", "AppSpec", "ConnectorSpec", "Value", "hookimpl", "hookspec"]
