"""What Salesforce tells: outbound messages (SOAP), and JSON of whatever form somebody made a flow post.

JSON comes without a Content-Type, an id or a date, so every delivery of it counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import orjson
from syncline.contract import Answer, Event, EventKind, Permanent, Receipt, WebhookRequest

from . import soap
from .errors import Json
from .ids import full

STATUSES: Final = {
    Receipt.STORED: 200,
    Receipt.REFUSED: 401,
    Receipt.UNREADABLE: 200,  # it is kept here, and would be no better the second time
    Receipt.TOO_LARGE: 413,
    Receipt.FAILED: 503,  # outbound messages are delivered again for 24 hours, calls of a flow are not
}
CUSTOMER: Final = "Customer"
_FLAG: Final = re.compile(r"SignedTos|SKU\w{1,60}", re.ASCII)
_TEXTS: Final = ("AccountManager", "Name", "SalesEngineerId")
#: What people call the record in a flow's call, and its object; capitals do not matter.
_IDS: Final = ("recordid", "id", "objectid")
_OBJECTS: Final = ("objecttype", "sobjecttype", "sobject", "object", "type")
_NAME: Final = re.compile(r"[A-Za-z]\w{0,79}", re.ASCII)
MOST: Final = 1000
LONGEST: Final = 200


def parse(request: WebhookRequest) -> list[Event]:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Permanent("The delivery is compressed, which Salesforce's never are. Look for a proxy that changes them.")
    if soap.is_xml(request.body):
        return soap.parse(request.body)
    told = _json(request.body)
    if isinstance(told, dict):
        return [_event(told, _asked(request))]
    if isinstance(told, list) and len(told) <= MOST and all(isinstance(each, dict) for each in told):
        return [_event(each, _asked(request)) for each in told]
    raise Permanent(f"The delivery is JSON, but neither an object nor a list of up to {MOST} of them.")


def acknowledge(request: WebhookRequest, receipt: Receipt) -> Answer:
    """Salesforce takes a message for delivered only by these very words; JSON is answered for whoever made the flow."""
    status = STATUSES[receipt]
    if soap.is_xml(request.body) or "soapaction" in request.headers:
        return Answer(status, soap.ACKNOWLEDGED if status == 200 else soap.AGAIN, "text/xml; charset=utf-8")
    return Answer(status, orjson.dumps({"accepted": status == 200}), "application/json")


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _mended(body)


def _mended(body: bytes) -> Any:
    """A text cut in the middle of a character is no reason to lose the rest; anything else is not JSON."""
    try:
        whole = json.dumps(json.loads(body.decode()), ensure_ascii=False, allow_nan=False)
        return orjson.loads(whole.encode(errors="replace"))
    except (ValueError, RecursionError):
        raise Permanent("The delivery is neither JSON that can be read nor an outbound message.") from None


def _asked(request: WebhookRequest) -> str:
    """`?object=Account` at the end of the address: a flow's call may hold nothing but an id."""
    try:
        named = dict(parse_qsl(urlsplit(request.url).query, max_num_fields=50)).get("object", "")
    except ValueError:
        return ""
    return named if _NAME.fullmatch(named) else ""


def _event(told: Json, asked: str) -> Event:
    return _customer(told) if not asked and _of_customer(told) else _of_flow(told, asked)


def _of_customer(told: Json) -> bool:
    return any(_is_flag(name) for name in told)


def _is_flag(name: str) -> bool:
    return _FLAG.fullmatch(name) is not None


def _customer(told: Json) -> Event:
    """The whole is kept, for it is all that there is: no record can be asked for."""
    remote_id = told.get("Id")
    if not isinstance(remote_id, str) or not remote_id.strip() or len(remote_id) > LONGEST:
        raise Permanent("The customer has no Id, or one that is no text.")
    wrong = [name for name, value in told.items() if _is_flag(name) and not isinstance(value, bool)]
    wrong += [name for name in _TEXTS if not isinstance(told.get(name, ""), str | None)]
    if wrong:
        raise Permanent(f"The customer has {', '.join(sorted(wrong)[:5])} of another type than true, false or text.")
    return Event(EventKind.MESSAGE, object_type=CUSTOMER, remote_id=remote_id.strip(), data=told)


def _of_flow(told: Json, asked: str) -> Event:
    named = {name.lower(): value for name, value in told.items()}
    kind_of = told.get("attributes")
    words = [asked, kind_of.get("type") if isinstance(kind_of, Mapping) else "", *(named.get(name) for name in _OBJECTS)]
    object_type = next((word for word in words if isinstance(word, str) and _NAME.fullmatch(word)), "")
    remote_id = next((one for name in _IDS if (one := full(named.get(name)))), "")
    account = full(named.get("organizationid"))
    if not (object_type and remote_id):
        return Event(EventKind.UNKNOWN, account=account, data=told)
    return Event(EventKind.CHANGED, account=account, object_type=object_type, remote_id=remote_id, data=told)
