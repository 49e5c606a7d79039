"""The sandbox's answers against HubSpot's published OpenAPI specifications, where these stand beside the checkout.

Where HubSpot was recorded to answer otherwise than it publishes, the recording counts; RECORDED lists those places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
from syncline_hubspot.sandbox.process import RunningSandbox

FILES = {
    ("companies", "v3"): "crm__companies__v3__r424.json",
    ("companies", "2026-09"): "crm__companies__2026-09__r424.json",
    ("contacts", "v3"): "crm__contacts__v3__r424.json",
    ("contacts", "2026-09"): "crm__contacts__2026-09__r424.json",
    ("deals", "v3"): "crm__deals__v3__r424.json",
    ("deals", "2026-09"): "crm__deals__2026-09__r424.json",
    ("properties", "v3"): "crm__properties__v3__r145899.json",
    ("properties", "2026-09"): "crm__properties__2026-09__r145899.json",
    ("associations", "v4"): "crm__associations__v4__r130902.json",
    ("associations", "2026-09"): "crm__associations__2026-09__r130902.json",
    ("owners", "v3"): "crm__crmOwners__v3__r146888.json",
    ("pipelines", "v3"): "crm__pipelines__v3__r145896.json",
    ("schemas", "v3"): "crm__schemas__v3__r145900.json",
    ("account", "v3"): "account__accountInfo__v3__r144923.json",
    ("imports", "v3"): "crm__imports__v3__r144903.json",
    ("imports", "2026-09"): "crm__imports__2026-09__r144903.json",
}
SAMPLES: dict[str, dict[str, str]] = {
    "companies": {"name": "Acme", "domain": "acme.example"},
    "contacts": {"email": "ada@example.com", "firstname": "Ada"},
    "deals": {"dealname": "Big", "dealstage": "closedwon"},
}
PLAIN = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}
RECORDED = {
    "MultiAssociatedObjectWithLabel.toObjectId": {"type": "integer"},
    "LabelsBetweenObjectPair.fromObjectId": {"type": "integer"},
    "LabelsBetweenObjectPair.toObjectId": {"type": "integer"},
    "AssociationSpecWithLabel.label": {"type": ["string", "null"]},
    "StandardError.subCategory": {"type": "string"},
}
OPTIONAL_IN_ERRORS = ("context", "errors", "links")


@pytest.fixture(scope="module")
def running() -> Iterator[RunningSandbox]:
    with RunningSandbox(limits=False, index_lag=0) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(running: RunningSandbox) -> RunningSandbox:
    running.admin.reset()
    return running


class Specs:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cache  # noqa: B019 - one instance per test run
    def read(self, name: str, version: str) -> dict[str, Any]:
        text = (self._folder / "hubspot-specs" / FILES[name, version]).read_text()
        spec: dict[str, Any] = json.loads(text)
        for place, schema in spec["components"]["schemas"].items():
            _as_json_schema(place, schema)
        return spec

    def check(self, name: str, version: str, answer: requests.Response) -> None:
        """The answer's code is documented for its path, and its body has the documented shape."""
        spec = self.read(name, version)
        path = answer.request.path_url.partition("?")[0]
        operation = _operation(spec, path, str(answer.request.method))
        documented = operation["responses"]
        assert answer.status_code == 207 or str(answer.status_code) in documented, f"{path}: {answer.status_code} {answer.text}"
        code = str(answer.status_code) if str(answer.status_code) in documented else min(documented)
        content = documented[code].get("content")
        if not content:
            assert answer.content == b""
            return
        (shape,) = content.values()
        schema = {**shape["schema"], "components": spec["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())


def _as_json_schema(name: str, schema: dict[str, Any]) -> None:
    """Turns OpenAPI's `nullable` into JSON Schema, forbids undocumented fields, and applies what was recorded."""
    properties = schema.get("properties", {})
    for key, held in properties.items():
        if held.get("nullable") and "type" in held:
            held["type"] = [held["type"], "null"]
        if f"{name}.{key}" in RECORDED:
            properties[key] = RECORDED[f"{name}.{key}"]
    if name == "SimplePublicObject" or name.startswith(("SimplePublicObjectWith", "SimplePublicUpsert")):
        properties["properties"] = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
    if name == "StandardError":
        schema["required"] = [each for each in schema.get("required", []) if each not in OPTIONAL_IN_ERRORS]
    if properties and "additionalProperties" not in schema:
        schema["additionalProperties"] = False


def _operation(spec: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """The documented operation of a path: the one with the most literal segments that matches."""
    matching = [template for template in spec["paths"] if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path)]
    assert matching, f"{path} is in no specification"
    best = min(matching, key=lambda template: template.count("{"))
    operation: dict[str, Any] = spec["paths"][best][method.lower()]
    return operation


@pytest.fixture(scope="session")
def specs(reference: Path) -> Specs:
    return Specs(reference)


def prefix(version: str, object_type: str, kind: str = "objects") -> str:
    base = f"/crm/v3/{kind}" if version == "v3" else f"/crm/{kind}/{version}"
    name = "0-3" if (object_type, version) == ("deals", "v3") and kind == "objects" else object_type
    return f"{base}/{name}"


def test_the_check_finds_what_is_wrong(sandbox: RunningSandbox, specs: Specs) -> None:
    answer = sandbox.request("POST", prefix("v3", "companies"), {"properties": SAMPLES["companies"]})
    specs.check("companies", "v3", answer)
    for change in ({"id": 5}, {"archived": "no"}, {"surprise": 1}, {"createdAt": None}):
        answer._content = json.dumps({**answer.json(), **change}).encode()
        with pytest.raises(jsonschema.ValidationError):
            specs.check("companies", "v3", answer)


@pytest.mark.parametrize("version", ["v3", "2026-09"])
@pytest.mark.parametrize("object_type", list(SAMPLES))
def test_single_records_and_lists(sandbox: RunningSandbox, specs: Specs, object_type: str, version: str) -> None:
    path = prefix(version, object_type)
    made = sandbox.request("POST", path, {"properties": SAMPLES[object_type]})
    one = f"{path}/{made.json()['id']}"
    other = sandbox.admin.seed(
        object_type, [{**SAMPLES[object_type], **({"email": "b@x.example"} if object_type == "contacts" else {})}]
    )
    answers = [
        made,
        sandbox.request("GET", one, properties="createdate"),
        sandbox.request("PATCH", one, {"properties": SAMPLES[object_type]}),
        sandbox.request("GET", path, limit=1),
        sandbox.request("POST", f"{path}/search", {"filterGroups": [], "limit": 1}),
        sandbox.request("POST", f"{path}/merge", {"primaryObjectId": made.json()["id"], "objectIdToMerge": other[0]}),
        sandbox.request("DELETE", one),
        sandbox.request("GET", path, archived="true"),
    ]
    for answer in answers:
        specs.check(object_type, version, answer)


@pytest.mark.parametrize("version", ["v3", "2026-09"])
@pytest.mark.parametrize("object_type", list(SAMPLES))
def test_batches(sandbox: RunningSandbox, specs: Specs, object_type: str, version: str) -> None:
    path = f"{prefix(version, object_type)}/batch"
    sample = {"properties": SAMPLES[object_type], "objectWriteTraceId": "good"}
    bad = {"properties": {"nothing": "x"}, "objectWriteTraceId": "bad"}
    made = sandbox.request("POST", f"{path}/create", {"inputs": [sample, bad]})
    assert made.status_code == 207
    held = made.json()["results"][0]["id"]
    key = {"name": "own_key", "label": "K", "type": "string", "fieldType": "text", "hasUniqueValue": True}
    group = sandbox.request("GET", f"/crm/v3/properties/{object_type}/groups").json()["results"][0]["name"]
    assert sandbox.request("POST", f"/crm/v3/properties/{object_type}", {**key, "groupName": group}).status_code == 201
    fresh = {**SAMPLES[object_type], **({"email": "c@x.example"} if object_type == "contacts" else {})}
    upsert = {"id": "k", "idProperty": "own_key", "properties": fresh}
    answers = [
        made,
        sandbox.request("POST", f"{path}/read", {"properties": [], "inputs": [{"id": held}]}),
        sandbox.request("POST", f"{path}/read", {"properties": [], "inputs": [{"id": held}, {"id": "1"}]}),
        sandbox.request("POST", f"{path}/update", {"inputs": [{"id": held, "properties": SAMPLES[object_type]}]}),
        sandbox.request("POST", f"{path}/upsert", {"inputs": [upsert]}),
        sandbox.request("POST", f"{path}/archive", {"inputs": [{"id": held}]}),
    ]
    assert [each.status_code for each in answers] == [207, 200, 207, 200, 200, 204]
    for answer in answers:
        specs.check(object_type, version, answer)


@pytest.mark.parametrize("version", ["v3", "2026-09"])
def test_properties(sandbox: RunningSandbox, specs: Specs, version: str) -> None:
    path = prefix(version, "contacts", "properties")
    given = {"name": "own", "label": "Own", "type": "bool", "fieldType": "booleancheckbox", "groupName": "contactinformation"}
    answers = [
        sandbox.request("POST", path, given),
        sandbox.request("GET", path),
        sandbox.request("GET", f"{path}/own"),
        sandbox.request("PATCH", f"{path}/own", {"label": "Mine"}),
        sandbox.request("POST", f"{path}/batch/create", {"inputs": [{**given, "name": "other"}]}),
        sandbox.request("POST", f"{path}/batch/create", {"inputs": [given]}),
        sandbox.request("POST", f"{path}/batch/read", {"inputs": [{"name": "own"}]}),
        sandbox.request("POST", f"{path}/batch/archive", {"inputs": [{"name": "own"}]}),
        sandbox.request("DELETE", f"{path}/other"),
        sandbox.request("GET", f"{path}/groups"),
        sandbox.request("POST", f"{path}/groups", {"name": "ours", "label": "Ours"}),
        sandbox.request("GET", f"{path}/groups/ours"),
        sandbox.request("DELETE", f"{path}/groups/ours"),
    ]
    for answer in answers:
        specs.check("properties", version, answer)


@pytest.mark.parametrize("version", ["v4", "2026-09"])
def test_associations(sandbox: RunningSandbox, specs: Specs, version: str) -> None:
    (contact,) = sandbox.admin.seed("contacts", [{"email": "ada@example.com"}])
    (company,) = sandbox.admin.seed("companies", [{"name": "Acme"}])
    batch = "/crm/v4/associations" if version == "v4" else f"/crm/associations/{version}"
    single = "/crm/v4/objects" if version == "v4" else f"/crm/objects/{version}"
    pair = {"from": {"id": contact}, "to": {"id": company}}
    many, one = f"{batch}/contacts/companies/batch", f"{single}/contacts/{contact}/associations"
    answers = [
        sandbox.request("POST", f"{many}/create", {"inputs": [{**pair, "types": [PLAIN]}]}),
        sandbox.request("POST", f"{many}/create", {"inputs": [{**pair, "to": {"id": "x"}, "types": [PLAIN]}]}),
        sandbox.request("POST", f"{many}/associate/default", {"inputs": [pair]}),
        sandbox.request("POST", f"{many}/read", {"inputs": [{"id": contact}]}),
        sandbox.request("POST", f"{many}/labels/archive", {"inputs": [{**pair, "types": [PLAIN]}]}),
        sandbox.request("POST", f"{many}/archive", {"inputs": [{"from": pair["from"], "to": [pair["to"]]}]}),
        sandbox.request("PUT", f"{one}/default/companies/{company}"),
        sandbox.request("PUT", f"{one}/companies/{company}", [PLAIN]),
        sandbox.request("DELETE", f"{one}/companies/{company}"),
    ]
    if version == "v4":
        answers.append(sandbox.request("GET", f"{one}/companies"))
    for answer in answers:
        specs.check("associations", version, answer)


@pytest.mark.parametrize("version", ["v3", "2026-09"])
def test_imports(sandbox: RunningSandbox, specs: Specs, version: str) -> None:
    path = "/crm/v3/imports" if version == "v3" else f"/crm/imports/{version}"
    columns = [{"columnObjectTypeId": "0-2", "columnName": name, "propertyName": name} for name in ("name", "industry")]
    page = {"hasHeader": True, "columnMappings": columns}
    asked = {"name": "Load", "files": [{"fileName": "a.csv", "fileFormat": "CSV", "fileImportPage": page}]}
    made = requests.post(
        sandbox.url + path,
        data={"importRequest": json.dumps(asked)},
        files={"files": ("a.csv", b"name,industry\r\nAcme,ALCHEMY\r\n", "text/csv")},
        headers={"Authorization": f"Bearer {sandbox.token}"},
        timeout=30,
    )
    one = f"{path}/{made.json()['id']}"
    sandbox.admin.advance(10)
    answers = [
        made,
        sandbox.request("GET", path, limit=1),
        sandbox.request("GET", one),
        sandbox.request("GET", f"{one}/errors", includeErrorMessage="true", includeRowData="true"),
        sandbox.request("POST", f"{one}/cancel"),
    ]
    for answer in answers:
        specs.check("imports", version, answer)
    assert answers[3].json()["results"]


def test_owners_pipelines_schemas_and_account(sandbox: RunningSandbox, specs: Specs) -> None:
    owner = sandbox.request("GET", "/crm/v3/owners", limit=1)
    specs.check("owners", "v3", owner)
    specs.check("owners", "v3", sandbox.request("GET", f"/crm/v3/owners/{owner.json()['results'][0]['id']}"))
    for path in ("deals", "deals/default", "deals/default/stages", "tickets"):
        specs.check("pipelines", "v3", sandbox.request("GET", f"/crm/v3/pipelines/{path}"))
    labels = {"singular": "Car", "plural": "Cars"}
    given = {"name": "cars", "labels": labels, "requiredProperties": [], "properties": [], "associatedObjects": []}
    specs.check("schemas", "v3", sandbox.request("POST", "/crm-object-schemas/v3/schemas", given))
    specs.check("schemas", "v3", sandbox.request("GET", "/crm-object-schemas/v3/schemas"))
    specs.check("account", "v3", sandbox.request("GET", "/account-info/v3/details"))
    specs.check("account", "v3", sandbox.request("GET", "/account-info/v3/api-usage/daily/private-apps"))
