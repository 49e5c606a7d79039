"""Which records hang together, read: from a listing as far as it tells, and by calls of their own for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from syncline.contract import ObjectType, RemoteRecord, Retryable

from .client import Client, following
from .errors import Json

MOST: Final = 1000
NONE_THERE: Final = ("NO_ASSOCIATIONS_FOUND", "OBJECT_NOT_FOUND")
Ends = tuple[str, ...]


def linked(
    client: Client,
    object_type: ObjectType,
    records: Sequence[RemoteRecord],
    wanted: Sequence[str],
    told: Mapping[str, Json] | None = None,
) -> list[RemoteRecord]:
    """The records with their associations. `told`: what a listing said about them, by id."""
    found = {to: _ends(client, object_type.key, to, records, wanted, told) for to in wanted}
    if not found:
        return list(records)
    return [replace(one, associations={to: ends.get(one.id, ()) for to, ends in found.items()}) for one in records]


def _ends(
    client: Client,
    key: str,
    to: str,
    records: Iterable[RemoteRecord],
    wanted: Sequence[str],
    told: Mapping[str, Json] | None,
) -> dict[str, Ends]:
    known = {one.id: _listed(told.get(one.id) or {}, to, wanted) if told is not None else None for one in records}
    complete = {own: ends for own, ends in known.items() if ends is not None}
    return complete | read(client, key, to, [own for own in known if own not in complete])


def _listed(told: Json, to: str, wanted: Sequence[str]) -> Ends | None:
    """What a listing tells of one record; None where it goes on, or where HubSpot gives the other object a name of its own."""
    names = {name.replace(" ", "_"): ends for name, ends in told.items()}
    if to not in names:
        return None if set(names) - set(wanted) else ()
    ends = names[to]
    return None if following(ends) else tuple(dict.fromkeys(str(end["id"]) for end in ends.get("results") or ()))


def read(client: Client, key: str, to: str, ids: Sequence[str]) -> dict[str, Ends]:
    """All ends by record, however many pages they take."""
    found: dict[str, dict[str, None]] = {own: {} for own in ids}
    inputs: list[Json] = [{"id": own} for own in ids]
    while inputs:
        asked, inputs = inputs[:MOST], inputs[MOST:]
        for raw in _page(client, key, to, asked):
            own = str(raw["from"]["id"])
            held = found.setdefault(own, {})
            before, after = len(held), following(raw)
            held.update(dict.fromkeys(str(end["toObjectId"]) for end in raw.get("to") or ()))
            if after and len(held) == before:
                raise Retryable(f"HubSpot listed the same associations of {own} twice. They are listed again.")
            inputs += [{"id": own, "after": after}] if after else []
    return {own: tuple(held) for own, held in found.items()}


def _page(client: Client, key: str, to: str, inputs: Sequence[Json]) -> Sequence[Json]:
    """HubSpot says of each record that has none that it has none; an answer without a word is asked for again."""
    for _ in range(2):
        answer = client.associations.get_page(key, to, {"inputs": list(inputs)})
        for error in answer.get("errors") or ():
            words = (str(error.get("subCategory")).rpartition(".")[2], error.get("category"))
            if not set(words) & set(NONE_THERE):
                raise Retryable(f"HubSpot could not read associations of {key}: {error.get('message')} They are read again.")
        if answer.get("results") or answer.get("errors"):
            break
    return answer.get("results") or ()
