"""Saboteurs that believe what they should not, or misunderstand what they are told."""

from __future__ import annotations

import gzip
import hmac
import itertools
import json
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from syncline.contract import Answer, ConnectorInfo, Event, EventKind, Permanent, Receipt, Verification, WebhookRequest, hookimpl
from syncline_notes import webhooks
from syncline_notes.connector import Notes

from .breaks import breaks

V = Verification
CHALLENGE = b"c4f3"


class Verifying(Notes):
    """Changes the word."""

    def said(self, word: Verification, request: WebhookRequest) -> Verification:
        raise NotImplementedError

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return self.said(super().verify(request, secrets), request)


@breaks("webhook-genuine")
class KnowsTheNewestSecretOnly(Notes):
    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return super().verify(request, secrets[:1])


@breaks("webhook-genuine")
class KnowsTheOldestSecretOnly(Notes):
    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return super().verify(request, secrets[-1:])


@breaks("webhook-forged")
class ComparesNothing(Verifying):
    def said(self, word: Verification, request: WebhookRequest) -> Verification:
        return V.GENUINE if word is V.FORGED else word


@breaks("webhook-forged")
class CallsAForgeryUnreadable(Verifying):
    def said(self, word: Verification, request: WebhookRequest) -> Verification:
        return V.MALFORMED if word is V.FORGED else word


@breaks("webhook-unsigned")
class CallsTheUnsignedForged(Verifying):
    def said(self, word: Verification, request: WebhookRequest) -> Verification:
        return V.FORGED if word is V.UNSIGNED else word


@breaks("webhook-stale")
class TakesWhatIsOld(Verifying):
    def said(self, word: Verification, request: WebhookRequest) -> Verification:
        return V.GENUINE if word is V.STALE else word


@breaks("webhook-stale")
class TakesWhatIsToCome(Verifying):
    def said(self, word: Verification, request: WebhookRequest) -> Verification:
        at = int(request.headers[webhooks.SIGNATURE].split(",")[0].removeprefix("t=")) if word is V.STALE else 0
        return V.GENUINE if at > request.received_at.timestamp() else word


@breaks("webhook-garbage")
class ComparesTextsInsteadOfBytes(Notes):
    """`compare_digest` takes no texts but those in ASCII."""

    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        hmac.compare_digest(request.headers.get(webhooks.SIGNATURE, ""), "")
        return super().verify(request, secrets)


@breaks("webhook-garbage")
class LetsAnEmptySignaturePass(Notes):
    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        empty = request.headers.get(webhooks.SIGNATURE) == ""
        return V.GENUINE if empty else super().verify(request, secrets)


@breaks("webhook-pure")
class AsksTheClock(Notes):
    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        return super().verify(replace(request, received_at=datetime.now(UTC)), secrets)


@breaks("webhook-pure")
class AsksSomebody(Notes):
    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        with suppress(OSError), socket.socket() as asking:
            asking.connect(("127.0.0.1", 9))
        return super().verify(request, secrets)


@breaks("no-secrets")
class LogsTheSigningSecret(Notes):
    @hookimpl
    def verify(self, request: WebhookRequest, secrets: Sequence[str]) -> Verification:
        logging.getLogger("syncline.conformance").debug("Trying %s", list(secrets))
        return super().verify(request, secrets)


class Parsing(Notes):
    """Changes the events."""

    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        raise NotImplementedError

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        return self.changed(list(super().parse(request)), request)


@breaks("webhook-pure")
class CountsWhatItReads(Parsing):
    def __init__(self) -> None:
        self.numbers = itertools.count()

    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return [replace(event, data={"number": next(self.numbers)}) for event in events]


@breaks("webhook-events")
class ReadsTheFirstOnly(Parsing):
    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return events[:1]


@breaks("webhook-events")
class ForgetsWhoWasMerged(Parsing):
    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return [replace(event, others=()) for event in events]


def unknown(event: Event) -> bool:
    return event.kind is EventKind.UNKNOWN


@breaks("webhook-unknown")
class TakesAnythingForAChange(Parsing):
    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return [replace(event, kind=EventKind.CHANGED) if unknown(event) else event for event in events]


@breaks("webhook-unknown")
class SaysNothingOfWhatItDoesNotKnow(Parsing):
    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return [Event(EventKind.UNKNOWN, event.key) if unknown(event) else event for event in events]


@breaks("webhook-keys")
class NamesEventsByTheirSignature(Parsing):
    """Which is another one each time."""

    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return [replace(event, key=event.key + request.headers[webhooks.SIGNATURE]) for event in events]


@breaks("webhook-keys")
class NamesEventsByTheirRecord(Parsing):
    def changed(self, events: list[Event], request: WebhookRequest) -> list[Event]:
        return [replace(event, key=event.remote_id) for event in events]


class Failing(Notes):
    """Does something of its own with a body that cannot be read."""

    def failed(self, request: WebhookRequest) -> Sequence[Event]:
        raise NotImplementedError

    @hookimpl
    def parse(self, request: WebhookRequest) -> Sequence[Event]:
        try:
            return super().parse(request)
        except Permanent:
            return self.failed(request)


def told(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


@breaks("webhook-junk")
class TakesJunkForNothing(Failing):
    def failed(self, request: WebhookRequest) -> Sequence[Event]:
        return []


@breaks("webhook-junk")
class FallsIntoTheDeep(Failing):
    def failed(self, request: WebhookRequest) -> Sequence[Event]:
        with suppress(ValueError):
            json.loads(request.body)
        raise Permanent("This is not a delivery.")


@breaks("webhook-junk")
class UnpacksWhatIsPacked(Failing):
    def failed(self, request: WebhookRequest) -> Sequence[Event]:
        with suppress(OSError):
            gzip.decompress(request.body)
        raise Permanent("This is not a delivery.")


@breaks("webhook-types")
class TrustsTheShape(Failing):
    def failed(self, request: WebhookRequest) -> Sequence[Event]:
        if isinstance(told(request.body), dict):
            raise KeyError("events")
        raise Permanent("This is not a delivery.")


@breaks("webhook-types")
class TrustsTheTypes(Failing):
    def failed(self, request: WebhookRequest) -> Sequence[Event]:
        whole = told(request.body)
        if not isinstance(whole, dict):
            raise Permanent("This is not a delivery.")
        return [Event(EventKind.CHANGED, account=whole.get("account", ""))]


class Answering(Notes):
    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
        return self.changed(super().acknowledge(request, events, receipt), receipt)

    def changed(self, answer: Answer, receipt: Receipt) -> Answer:
        raise NotImplementedError


class Hasty(Notes):
    @hookimpl
    def describe(self) -> ConnectorInfo:
        return replace(super().describe(), answers_unread=True)


@breaks("webhook-answer")
class CountsWhatNobodyHasRead(Hasty):
    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
        answer = super().acknowledge(request, events, receipt)
        return replace(answer, headers={"X-Events": str(len(events))}) if receipt is Receipt.STORED else answer


@breaks("webhook-answer")
class ComplainsLater(Hasty):
    @hookimpl
    def acknowledge(self, request: WebhookRequest, events: Sequence[Event], receipt: Receipt) -> Answer:
        return Answer(202) if receipt is Receipt.UNREADABLE else super().acknowledge(request, events, receipt)


@breaks("webhook-answer")
class ForgetsTheChallenge(Answering):
    def changed(self, answer: Answer, receipt: Receipt) -> Answer:
        return replace(answer, body=b"")


@breaks("webhook-answer")
class ThanksForWhatWasNotKept(Answering):
    def changed(self, answer: Answer, receipt: Receipt) -> Answer:
        return Answer(200) if receipt is Receipt.FAILED else answer


@breaks("webhook-answer")
class AnswersTheChallengeOfAnybody(Answering):
    def changed(self, answer: Answer, receipt: Receipt) -> Answer:
        return Answer(401, CHALLENGE) if receipt is Receipt.REFUSED else answer
