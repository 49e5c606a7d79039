"""The older associations: unlabelled, types by name, both directions in the answer."""

from __future__ import annotations

from .associations import LinkRefused, create_default, inputs_of, pair_of, unlink, written
from .links import Pair
from .wire import Call, Json, Reply


def _names(call: Call, pair: Pair) -> tuple[str, str]:
    first, second = (call.portal.table(type_id).kind.singular for type_id in pair)
    return f"{first}_to_{second}", f"{second}_to_{first}"


def _create(call: Call, pair: Pair, given: Json) -> list[Json]:
    forth, back = _names(call, pair)
    if given.get("type") not in (forth, str(call.portal.links.default(pair).type_id)):
        raise LinkRefused(f"{given.get('type')} is not an association type between {pair[0]} and {pair[1]}")
    create_default(call, pair, given)
    return [
        {"from": given["to"], "to": given["from"], "type": back},
        {"from": given["from"], "to": given["to"], "type": forth},
    ]


MOST = 100


def batch_create(call: Call) -> Reply:
    return written(call, 201, _create, MOST)


def batch_read(call: Call) -> Reply:
    def read(call: Call, pair: Pair, given: Json) -> list[Json]:
        key = str(given.get("id"))
        held = call.portal.links.of(pair, key)
        return [{"from": {"id": key}, "to": [{"id": to_id, "type": _names(call, pair)[0]} for to_id in held]}] if held else []

    return written(call, 200, read, MOST)


def batch_archive(call: Call) -> Reply:
    for given in inputs_of(call, MOST):
        unlink(call, pair_of(call), str(given["from"]["id"]), str(given["to"]["id"]))
    return Reply(204)
