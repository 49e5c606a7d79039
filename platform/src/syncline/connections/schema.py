"""JSON Schemas of settings and credentials: defaults, secret fields, and sentences for what does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

FORM = ""  # the key of problems that belong to no single field
_FORMATS = FormatChecker(("date", "email", "ipv4", "ipv6", "regex", "uuid"))


@_FORMATS.checks("uri")
def _is_address(value: object) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return parts is None or bool(parts.scheme and (parts.netloc or parts.path) and " " not in parts.geturl())


def properties(schema: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
    return found


def defaults(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one["default"] for name, one in properties(schema).items() if "default" in one}


def secret_names(schema: Mapping[str, Any]) -> list[str]:
    return [name for name, one in properties(schema).items() if one.get("writeOnly")]


def label(schema: Mapping[str, Any], name: str) -> str:
    given = properties(schema).get(name, {}).get("title")
    return str(given) if given else name.replace("_", " ").strip().capitalize()


def problems(schema: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str]:
    """One sentence per field that does not fit, "" for what concerns the whole; never the value of a field."""
    found: dict[str, str] = {}
    errors = Draft202012Validator(dict(schema), format_checker=_FORMATS).iter_errors(data)
    for error in sorted(errors, key=lambda one: [str(step) for step in one.path]):
        for name in _fields(error):
            found.setdefault(name, _sentence(schema, error, name))
    return found


def _fields(error: ValidationError) -> Iterable[str]:
    if error.path:
        return [str(error.path[0])]
    rule: Any = error.validator_value
    given: Any = error.instance
    if error.validator == "required":
        return [name for name in rule if name not in given]
    if error.validator == "additionalProperties":
        where: Any = error.schema
        return [name for name in given if name not in properties(where)]
    return [FORM]


_WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "yes or no",
    "array": "a list",
    "object": "a group of fields",
    "null": "empty",
}
_FORMAT_WORDS = {"uri": "an address such as https://example.com", "email": "an e-mail address", "date": "a date (YYYY-MM-DD)"}


def _sentence(schema: Mapping[str, Any], error: ValidationError, name: str) -> str:
    wanted: Any = error.validator_value
    what = label(schema, name) if name else "The form"
    match error.validator:
        case "required":
            return f"{what} is missing. Fill it in."
        case "enum":
            return f"{what} must be one of: {', '.join(str(one) for one in wanted)}."
        case "type":
            kinds = wanted if isinstance(wanted, list) else [wanted]
            return f"{what} must be {' or '.join(_WORDS.get(kind, str(kind)) for kind in kinds)}."
        case "format":
            return f"{what} must be {_FORMAT_WORDS.get(wanted, wanted)}."
        case "additionalProperties":
            return f"{what} is not a setting of this connector. Remove it."
        case _:
            return _limit_sentence(what, str(error.validator), wanted)


def _limit_sentence(what: str, keyword: str, wanted: Any) -> str:
    sentences = {
        "minLength": f"{what} must have at least {wanted} characters.",
        "maxLength": f"{what} must have at most {wanted} characters.",
        "minimum": f"{what} must be {wanted} or more.",
        "maximum": f"{what} must be {wanted} or less.",
        "pattern": f"{what} does not have the expected form ({wanted}).",
        "const": f"{what} must be {wanted}.",
    }
    return sentences.get(keyword, f"{what} does not fit the rule {keyword} of its schema.")
