"""Saboteurs that take refusals and failures the wrong way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from syncline.contract import (
    Account,
    AuthError,
    Change,
    ConnectorInfo,
    Limit,
    ObjectType,
    OutcomeUnknown,
    Permanent,
    PushResult,
    RateLimited,
    Response,
    Retryable,
    Session,
    hookimpl,
)
from syncline_notes.calls import answered
from syncline_notes.connector import Notes, item, result

from .breaks import breaks


def account(session: Session, *, repeatable: bool) -> Response:
    return session.http.request("GET", session.settings["base_url"] + "/account", repeatable=repeatable)


@breaks("account")
class LeavesTheAccountUnnamed(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        return replace(super().check(session), name="")


@breaks("auth-error")
class CallsARefusedTokenPermanent(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        try:
            return super().check(session)
        except AuthError as error:
            raise Permanent("Notes refused the token.") from error


@breaks("unreachable")
class ForgetsThatReadingRepeats(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        found = answered(account(session, repeatable=False))
        return Account(found["id"], found["name"])


@breaks("html-answer")
class TrustsTheAnswer(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        found = json.loads(account(session, repeatable=True).body)
        return Account(found["id"], found["name"])


@breaks("no-secrets")
class LogsTheToken(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        session.log.debug("Asking with %s", dict(session.http._auth.headers()))
        return super().check(session)


@breaks("no-secrets")
class RaisesTheToken(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        try:
            return super().check(session)
        except AuthError as error:
            raise AuthError(f"{error} The token was {dict(session.http._auth.headers())}.") from None


@breaks("no-secrets")
class KeepsTheToken(Notes):
    seen: Mapping[str, str]

    @hookimpl
    def check(self, session: Session) -> Account:
        self.seen = dict(session.http._auth.headers())
        return super().check(session)

    def __repr__(self) -> str:
        return f"Notes({vars(self)})"


class Pushing(Notes):
    """Changes what `push` does when it fails."""

    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        try:
            return super().push(session, object_type, changes)
        except Exception as error:  # noqa: BLE001 - given on, or changed on purpose
            return self.failed(error, session, object_type, changes)

    def failed(
        self, error: Exception, session: Session, object_type: ObjectType, changes: Sequence[Change]
    ) -> Sequence[PushResult]:
        raise error


@breaks("rate-limit")
class ForgetsHowLongToWait(Pushing):
    def failed(self, error: Exception, *_: Any) -> Sequence[PushResult]:
        raise Retryable("Notes has no room.") if isinstance(error, RateLimited) else error


@breaks("outcome-unknown")
class SaysNothingWasWritten(Pushing):
    def failed(self, error: Exception, *_: Any) -> Sequence[PushResult]:
        raise Retryable("Notes did not answer.") if isinstance(error, OutcomeUnknown) else error


@breaks("no-repeat")
class RepeatsACreate(Pushing):
    def failed(
        self, error: Exception, session: Session, object_type: ObjectType, changes: Sequence[Change]
    ) -> Sequence[PushResult]:
        if isinstance(error, OutcomeUnknown):
            return Notes().push(session, object_type, changes)
        raise error


@breaks("no-repeat")
class SplitsALostBatch(Pushing):
    """Right after a refusal, wrong after silence."""

    def failed(
        self, error: Exception, session: Session, object_type: ObjectType, changes: Sequence[Change]
    ) -> Sequence[PushResult]:
        if isinstance(error, OutcomeUnknown) and len(changes) > 1:
            return [Notes().push(session, object_type, [change])[0] for change in changes]
        raise error


@breaks("refusal")
class DoesNotLookAtTheStatus(Notes):
    @hookimpl
    def push(self, session: Session, object_type: ObjectType, changes: Sequence[Change]) -> Sequence[PushResult]:
        kinds = {p.name: p.kind for p in object_type.properties}
        body = {"op": changes[0].op, "items": [item(change, kinds) for change in changes]}
        answer = session.http.request("POST", session.settings["base_url"] + "/notes/batch", json=body).json()
        by_key = {verdict["ref"]: verdict for verdict in answer["results"]}
        return [result(change, by_key.get(change.local_key)) for change in changes]


@breaks("refusal")
class ExpectsTheDocumentedBody(Pushing):
    """Makes its sentence of the vendor's error, which is not always there."""

    def failed(self, error: Exception, session: Session, *_: Any) -> Sequence[PushResult]:
        if "no reason" in str(error):
            raise KeyError("message")
        raise error


@breaks("limits")
class CountsAgainstAnUnknownLimit(Notes):
    @hookimpl
    def check(self, session: Session) -> Account:
        url = session.settings["base_url"] + "/account"
        found = answered(session.http.request("GET", url, limit="serach", repeatable=True))
        return Account(found["id"], found["name"])


class Limited(Notes):
    limits: tuple[Limit, ...] = ()

    @hookimpl
    def describe(self) -> ConnectorInfo:
        return replace(super().describe(), limits=self.limits)


@breaks("limits")
class GrantsNothing(Limited):
    limits = (Limit("calls", "account", "every call", 60.0, 0),)


@breaks("limits")
class LimitsNobodyKnows(Limited):
    limits = (Limit("calls", "planet", "every call", 60.0, 600),)


@breaks("limits")
class LimitsTwiceByOneName(Limited):
    limits = (Limit("calls", "account", "reads", 60.0, 600), Limit("calls", "account", "writes", 60.0, 60))


@breaks("limits")
class LearnsNothingFromItsHeaders(Limited):
    limits = (Limit("calls", "account", "every call", 60.0, 600, headers={"X-Calls-Left": "remaining"}),)
