"""Associations v4 and their dated twins. Record ids are numbers in most of these answers, as recorded from HubSpot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .batch import answer
from .links import LinkType, Pair, Spec
from .portal import API
from .records import COMPANIES, CONTACTS
from .wire import Call, Json, Reply, invalid, invalid_json, not_found_json

MOST_CREATED = 2_000
MOST_READ = 1_000
PAGE = 500

Written = Callable[[Call, Pair, Json], list[Json]]


class LinkRefused(Exception):
    def __init__(self, message: str, sub_category: str = "", **context: list[str]) -> None:
        super().__init__(message)
        self.entry: Json = {"status": "error", "category": "VALIDATION_ERROR", "message": message, "context": context}
        if sub_category:
            self.entry["subCategory"] = sub_category


def pair_of(call: Call, second: str = "to") -> Pair:
    first = call.portal.table(call.args["from" if "from" in call.args else "type"])
    return first.kind.type_id, call.portal.table(call.args[second]).kind.type_id


def inputs_of(call: Call, most: int) -> list[Json]:
    inputs = call.body().get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise invalid_json("`inputs` must be an array of objects")
    if len(inputs) > most:
        raise invalid(f"The maximum number of inputs supported in a batch request is {most}, found {len(inputs)}")
    return inputs


def _record(call: Call, type_id: str, given: Any) -> str:
    key = str(given.get("id", "")) if isinstance(given, dict) else str(given)
    if not key.isdigit():
        raise LinkRefused(f"{key} is not a valid ID", "crm.associations.INVALID_IDENTIFIER", id=[key])
    if call.portal.table(type_id).live(key) is None:
        raise LinkRefused(f"No {type_id} object with ID {key} exists", "crm.associations.OBJECT_NOT_FOUND", id=[key])
    return key


def _ends(call: Call, pair: Pair, given: Json) -> tuple[str, str]:
    from_id, to_id = _record(call, pair[0], given.get("from")), _record(call, pair[1], given.get("to"))
    if pair[0] == pair[1] and from_id == to_id:
        raise LinkRefused(f"Object {from_id} cannot be associated to itself ({to_id})")
    return from_id, to_id


def _specs(call: Call, pair: Pair, given: Any) -> set[Spec]:
    specs: set[Spec] = set()
    for each in given or ():
        spec = (str(each.get("associationCategory")), int(each.get("associationTypeId", 0)))
        if spec not in call.portal.links.types_of(pair):
            raise LinkRefused(f"Association type {spec[0]} {spec[1]} does not exist between {pair[0]} and {pair[1]}")
        specs.add(spec)
    if not specs:
        raise LinkRefused("Every association needs at least one type")
    return specs


def _linked(call: Call, pair: Pair, from_id: str, to_id: str, specs: set[Spec]) -> None:
    call.portal.links.connect(pair, from_id, to_id, specs)
    _tell(call, pair, from_id, to_id, removed=False)
    _count_contacts(call, pair, from_id, to_id)


def unlink(call: Call, pair: Pair, from_id: str, to_id: str) -> None:
    if to_id in call.portal.links.of(pair, from_id):
        call.portal.links.remove(pair, from_id, to_id)
        _tell(call, pair, from_id, to_id, removed=True)
    _count_contacts(call, pair, from_id, to_id)


def _tell(call: Call, pair: Pair, from_id: str, to_id: str, *, removed: bool) -> None:
    start, end = (call.portal.table(type_id) for type_id in pair)
    call.portal.tell_link((start, from_id), (end, to_id), API, removed=removed)


def _count_contacts(call: Call, pair: Pair, from_id: str, to_id: str) -> None:
    """A company knows how many contacts it has; that is not a modification of it."""
    if set(pair) == {COMPANIES.type_id, CONTACTS.type_id}:
        company_id = from_id if pair[0] == COMPANIES.type_id else to_id
        company = call.portal.table(COMPANIES.type_id).live(company_id)
        if company:
            count = len(call.portal.links.of((COMPANIES.type_id, CONTACTS.type_id), company_id))
            company.values = {**company.values, "num_associated_contacts": str(count)}


def _labels(call: Call, pair: Pair, from_id: str, to_id: str, specs: set[Spec]) -> Json:
    kinds = call.portal.links.types_of(pair)
    return {
        "fromObjectTypeId": pair[0],
        "fromObjectId": int(from_id),
        "toObjectTypeId": pair[1],
        "toObjectId": int(to_id),
        "labels": [label for spec in sorted(specs) if (label := kinds[spec].label)],
    }


def _defaults(from_id: str, to_id: str, kind: LinkType) -> list[Json]:
    """The unlabelled association answers both directions."""
    forth = {"associationCategory": kind.category, "associationTypeId": kind.type_id}
    back = {"associationCategory": kind.category, "associationTypeId": kind.inverse_id}
    return [
        {"from": {"id": from_id}, "to": {"id": to_id}, "associationSpec": forth},
        {"from": {"id": to_id}, "to": {"id": from_id}, "associationSpec": back},
    ]


def _create_labelled(call: Call, pair: Pair, given: Json) -> list[Json]:
    from_id, to_id = _ends(call, pair, given)
    specs = _specs(call, pair, given.get("types"))
    _linked(call, pair, from_id, to_id, specs)
    return [_labels(call, pair, from_id, to_id, specs)]


def create_default(call: Call, pair: Pair, given: Json) -> list[Json]:
    from_id, to_id = _ends(call, pair, given)
    kind = call.portal.links.default(pair)
    _linked(call, pair, from_id, to_id, {kind.spec} | call.portal.links.of(pair, from_id).get(to_id, set()))
    return _defaults(from_id, to_id, kind)


def written(call: Call, status: int, write: Written, most: int = MOST_CREATED) -> Reply:
    """Each input for itself; those refused are listed beside the results."""
    started, pair = call.portal.clock.now(), pair_of(call)
    results: list[Json] = []
    errors: list[Json] = []
    for given in inputs_of(call, most):
        try:
            results += write(call, pair, given)
        except LinkRefused as refused:
            errors.append(refused.entry)
    return answer(call, status, results, errors, started)


def batch_create(call: Call) -> Reply:
    return written(call, 200 if call.dated else 201, _create_labelled)


def batch_default(call: Call) -> Reply:
    return written(call, 200, create_default)


def batch_read(call: Call) -> Reply:
    started, pair = call.portal.clock.now(), pair_of(call)
    results: list[Json] = []
    missing: list[str] = []
    for given in inputs_of(call, MOST_READ):
        key, after, most = str(given.get("id")), int(given.get("after") or 0), call.portal.config.associations_page
        held = sorted(call.portal.links.of(pair, key).items(), key=lambda each: int(each[0]))
        shown = [_associated(call, pair, *each) for each in held[after : after + most]]
        if shown:
            more = {"paging": {"next": {"after": str(after + most)}}} if len(held) > after + most else {}
            results.append({"from": {"id": key}, "to": shown, **more})
        else:
            missing.append(key)
    message = f"No {call.args['to']} is associated with {', '.join(missing)}."
    base = {"status": "error", "category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND"}
    errors = [{**base, "message": message, "context": {"fromObjectId": missing}}] if missing else []
    return answer(call, 200, results, errors, started)


def _associated(call: Call, pair: Pair, to_id: str, specs: set[Spec]) -> Json:
    kinds = call.portal.links.types_of(pair)
    types = [{"category": spec[0], "typeId": spec[1], "label": kinds[spec].label} for spec in sorted(specs)]
    return {"toObjectId": int(to_id), "associationTypes": types}


def batch_archive(call: Call) -> Reply:
    started, pair = call.portal.clock.now(), pair_of(call)
    for given in inputs_of(call, MOST_CREATED):
        for target in given.get("to") or ():
            unlink(call, pair, str(given["from"]["id"]), str(target["id"]))
    return _archived(call, started)


def batch_unlabel(call: Call) -> Reply:
    started, pair = call.portal.clock.now(), pair_of(call)
    for given in inputs_of(call, MOST_CREATED):
        try:
            specs = _specs(call, pair, given.get("types"))
        except LinkRefused as refused:
            raise invalid(str(refused)) from refused
        call.portal.links.unlabel(pair, str(given["from"]["id"]), str(given["to"]["id"]), specs)
    return _archived(call, started)


def _archived(call: Call, started: float) -> Reply:
    """v4 answers nothing, the dated versions an empty batch."""
    return answer(call, 200, [], [], started) if call.dated else Reply(204)


# labels


def list_labels(call: Call) -> Reply:
    return Reply(200, {"results": [_label(kind) for kind in call.portal.links.types_of(pair_of(call)).values()]})


def _label(kind: LinkType) -> Json:
    return {"category": kind.category, "typeId": kind.type_id, "label": kind.label}


def create_label(call: Call) -> Reply:
    given = call.body()
    if not given.get("label") or not given.get("name"):
        raise invalid("An association label needs a label and a name")
    forth, back = call.portal.links.add_label(pair_of(call), given["label"], given.get("inverseLabel"))
    return Reply(200, {"results": [_label(forth), _label(back)]})


# one record


def list_of_record(call: Call) -> Reply:
    """Asked for the old id of a merged record, the answer is empty."""
    pair = pair_of(call)
    limit, after = call.limit(PAGE, PAGE), int(call.query.get("after") or 0)
    held = sorted(call.portal.links.of(pair, call.args["id"]).items(), key=lambda each: int(each[0]))
    body: Json = {"results": [_associated(call, pair, *each) for each in held[after : after + limit]]}
    if len(held) > after + limit:
        following = str(after + limit)
        body["paging"] = {"next": {"after": following, "link": call.link(after=following)}}
    return Reply(200, body)


def _given(call: Call) -> Json:
    return {"from": {"id": call.args["id"]}, "to": {"id": call.args["to_id"]}}


def put_default(call: Call) -> Reply:
    started = call.portal.clock.now()
    try:
        results = create_default(call, pair_of(call), _given(call))
    except LinkRefused as refused:
        raise invalid(str(refused)) from refused
    return answer(call, 200, results, [], started)


def put_labelled(call: Call) -> Reply:
    """The body is a plain array of types."""
    pair = pair_of(call)
    types = call.listed_body()
    try:
        return Reply(201, _create_labelled(call, pair, {**_given(call), "types": types})[0])
    except LinkRefused as refused:
        raise invalid(str(refused)) from refused


def delete_all(call: Call) -> Reply:
    if call.portal.table(call.args["type"]).resolve(call.args["id"]) is None:
        raise not_found_json()
    unlink(call, pair_of(call), call.args["id"], call.args["to_id"])
    return Reply(204)
