"""How a connector takes the vendor's refusals and the network's failures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import partial

from syncline.contract import (
    AuthError,
    Capability,
    Change,
    Json,
    Op,
    OutcomeUnknown,
    Permanent,
    PullRequest,
    RecordRejected,
    Retryable,
    Status,
    SynclineError,
)

from ..check import attempt, check, expect, told
from ..lab import SHORT, Lab
from ..proxy import Fault, answer, html

AFTER = 2.0
NOWHERE = "http://127.0.0.1:9"  # discard: nothing listens there
SCOPES = frozenset({"account", "app_account"})
TOLD = re.compile(r"\{(size|remaining|used)\}")


@check("account", Capability.CHECK)
def account(lab: Lab) -> None:
    """`check` names the remote account: an id and a name."""
    found = lab.call.check(session=lab.session())
    expect(found.id and found.name, f"`check` gave {found!r}: people cannot tell which account they connected.")


@check("auth-error", Capability.CHECK)
def auth_error(lab: Lab) -> None:
    """A 401 makes `check` raise AuthError."""
    with lab.proxy.playing(answer(401, lab.target.refusal)):
        got = attempt(lambda: lab.call.check(session=lab.session()))
    expect(isinstance(got, AuthError), f"After a 401 `check` gave {told(got)} instead of AuthError.")


@check("unreachable", Capability.CHECK)
def unreachable(lab: Lab) -> None:
    """No connection or no answer in time makes `check` raise Retryable."""
    got = attempt(lambda: lab.call.check(session=lab.session(url=NOWHERE)))
    expect(isinstance(got, Retryable), f"Without a connection `check` gave {told(got)} instead of Retryable.")
    with lab.proxy.playing(Fault(stall=True)):
        got = attempt(lambda: lab.call.check(session=lab.session(timeout=SHORT)))
    expect(isinstance(got, Retryable), f"After a time-out `check` gave {told(got)} instead of Retryable: is it `repeatable`?")


@check("rate-limit", Capability.PUSH, Capability.DISCOVER)
def rate_limit(lab: Lab) -> None:
    """A 429 with Retry-After on a write becomes Retryable with that wait, or is waited out; nothing says it was written."""
    changes = lab.changes(1)
    lab.budget.longest = 0.0
    started = time.monotonic()
    with lab.proxy.playing(answer(429, lab.target.refusal, writes=True, Retry_After=str(int(AFTER)))):
        got = attempt(lambda: lab.push(changes))
    waited = max(time.monotonic() - started, lab.budget.longest)
    if isinstance(got, Exception):
        expect(isinstance(got, Retryable), f"After a 429 `push` raised {told(got)} instead of RateLimited.")
        after = got.after if isinstance(got, Retryable) else None
        expect((after or 0.0) >= AFTER, f"The vendor asked for {AFTER} s, but the error's `after` is {after}.")
    else:
        expect(all(r.status is Status.NOT_SENT for r in got), f"After nothing but 429 `push` gave {got} instead of NOT_SENT.")
        expect(waited >= AFTER, f"The vendor asked for {AFTER} s, but nobody was told to wait.")


@check("refusal", Capability.PUSH, Capability.DISCOVER)
def refusal(lab: Lab) -> None:
    """A 400 on a write becomes RecordRejected, Permanent or REJECTED results, also when its body is not as documented."""
    expect(lab.target.refusal is not None, "The target has no `refusal`: give the body of the vendor's answer 400.")
    bodies: tuple[Json, ...] = (lab.target.refusal, {})
    for body in bodies:
        changes = lab.changes(1)
        with lab.proxy.playing(answer(400, body, writes=True)):
            got = attempt(partial(lab.push, changes))
        if isinstance(got, Exception):
            expect(isinstance(got, Permanent | RecordRejected), f"After a 400 with {body!r} `push` raised {told(got)}.")
        else:
            expect([r.status for r in got] == [Status.REJECTED], f"After a 400 with {body!r} `push` gave {got}.")


@check("outcome-unknown", Capability.PUSH, Capability.DISCOVER)
def outcome_unknown(lab: Lab) -> None:
    """A 500, a lost connection or a time-out after a create was sent becomes OutcomeUnknown or UNKNOWN results."""
    lost = {
        "a 500": answer(500, writes=True, forward=True),
        "a lost connection": Fault(cut=True, forward=True, writes=True),
        "a time-out": Fault(stall=True, forward=True, writes=True),
    }
    for what, fault in lost.items():
        changes = lab.changes(1)
        session = lab.session(timeout=SHORT if fault.stall else 5.0)
        with lab.proxy.playing(fault):
            got = attempt(partial(lab.push, changes, session))
        known = isinstance(got, Exception) and not isinstance(got, OutcomeUnknown)
        expect(not known, f"After {what} `push` raised {told(got)}, but the record may have been created.")
        if not isinstance(got, Exception):
            expect([r.status for r in got] == [Status.UNKNOWN], f"After {what} `push` gave {got} instead of UNKNOWN.")


@check("no-repeat", Capability.PUSH, Capability.DISCOVER)
def no_repeat(lab: Lab) -> None:
    """A create whose answer was lost is not sent again by the connector: only the host can tell whether that is safe."""
    for count in sorted({1, min(3, lab.object_type.batch_sizes.get(Op.CREATE, 1))}):
        changes = lab.changes(count)
        with lab.proxy.playing(Fault(cut=True, forward=True, writes=True)):
            attempt(partial(lab.push, changes, lab.session(patience=5.0)))
            bodies = [seen.body for seen in lab.proxy.seen if seen.write]
        expect(bodies, "A create was pushed, but nothing was sent through `session.http`.")
        often = max(_naming(bodies, change, lab.telling()) for change in changes)
        sent = f"The answer to a push was lost (new records: {count}), and {len(bodies)} writes were sent"
        expect(often <= 1, f"{sent}, with the same record in {often} of them.")
        expect(len(bodies) <= count, f"{sent}.")


def _naming(bodies: list[bytes], change: Change, telling: str) -> int:
    """In how many of the requests the record is: those in JSON name it, others are only counted."""
    named = json.dumps(change.properties[telling]).encode()
    return sum(named in body for body in bodies)


@check("html-answer", Capability.CHECK)
def html_answer(lab: Lab) -> None:
    """An answer 200 with a page of HTML (a proxy's, say) becomes one of the contract's errors in every hook."""
    for name, call in _calls(lab).items():
        with lab.proxy.playing(html()):
            got = attempt(call)
        expect(isinstance(got, SynclineError) or _unknown(got), f"A page of HTML made `{name}` give {told(got)}.")


def _unknown(got: object) -> bool:
    return isinstance(got, list) and [getattr(result, "status", None) for result in got] == [Status.UNKNOWN]


def _calls(lab: Lab) -> dict[str, Callable[[], object]]:
    session = lab.session()
    calls: dict[str, Callable[[], object]] = {"check": lambda: lab.call.check(session=session)}
    if Capability.DISCOVER not in lab.able:
        return calls
    found, names, changes = lab.object_type, tuple(lab.target.record(0)), lab.changes(1)
    request, ids = PullRequest(properties=names), [lab.target.missing_id or "1"]
    calls |= {
        "discover": lambda: lab.call.discover(session=session),
        "push": lambda: lab.push(changes),
        "fetch": lambda: lab.call.fetch(
            session=session, object_type=found, ids=ids, properties=names, associations=(), history=()
        ),
        "pull": lambda: list(lab.call.pull(session=session, object_type=found, request=request)),
    }
    return {name: call for name, call in calls.items() if name in lab.able}


@check("limits", Capability.CHECK)
def limits(lab: Lab) -> None:
    """Limits are possible and have one name each, headers tell size, remaining or used, and calls name declared ones only."""
    declared = {limit.name: limit for limit in lab.info.limits}
    expect(len(declared) == len(lab.info.limits), "Two limits share a name.")
    for limit in declared.values():
        expect(limit.scope in SCOPES, f"The scope {limit.scope!r} of `{limit.name}` is unknown. Known: {sorted(SCOPES)}.")
        expect(limit.window > 0 and limit.size > 0, f"`{limit.name}` grants {limit.size} calls in {limit.window} s.")
        mute = [header for header, pattern in limit.headers.items() if not TOLD.search(pattern)]
        expect(not mute, f"The patterns of {mute} for `{limit.name}` hold none of {{size}}, {{remaining}} and {{used}}.")
    for call in _calls(lab).values():
        attempt(call)
    unknown = sorted(lab.budget.named - set(declared) - {""})
    expect(not unknown, f"Calls name the limits {unknown}, which are not declared: {sorted(declared) or 'none is'}.")
