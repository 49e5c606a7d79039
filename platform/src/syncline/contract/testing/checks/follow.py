"""Pulls without end."""

from __future__ import annotations

from syncline.contract import Capability, Change, ConnectorSpec, Op, PullRequest, Session

from ..check import check, declared
from ..following import Followed
from ..lab import Lab


@check("follow", Capability.DISCOVER, Capability.PULL, Capability.PUSH)
def follow(lab: Lab) -> None:
    """Followed, an object gives each change, a page every 5 s (7 at most), and from any page's position on what came after."""
    declared(lab.object_type.follow and not lab.object_type.log, "`follow`, and is no log")
    name = lab.telling()
    [one] = lab.created()
    stream = _followed(lab, lab.call, lab.session())
    stream.page()
    begun, value = stream.position, _changed(lab, one, name)
    stream.until(lambda record: record.id == one and record.properties.get(name) == value, "a change that was made meanwhile")
    for _ in range(2):  # nothing happens: they come all the same
        stream.page()
    stream.close()
    call, session = lab.elsewhere()
    later = _changed(lab, one, name)
    for place, what in ((stream.position, "a change while nobody followed"), (begun, "a change after its first page's position")):
        resumed = _followed(lab, call, session, place)
        resumed.until(lambda record: record.id == one and record.properties.get(name) == later, what)
        resumed.close()


def _followed(lab: Lab, call: ConnectorSpec, session: Session, position: str | None = None) -> Followed:
    request = PullRequest(tuple(lab.target.record(0)), position, follow=True)
    return Followed(lambda: call.pull(session=session, object_type=lab.object_type, request=request))


def _changed(lab: Lab, one: str, name: str) -> object:
    """Writes another value; gives it."""
    [change] = lab.changes(1)
    value = change.properties[name]
    lab.written(Change(change.local_key, Op.UPDATE, one, properties={name: value}))
    lab.settle()
    return value
