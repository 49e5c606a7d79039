"""A Django form made from a JSON Schema: settings of registrations and connections, credentials a person types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms

from . import schema as schemas
from .secrets import reveal

PEM = "application/x-pem-file"
KEEP = "Leave empty to keep what is stored."


class SecretLines(forms.Textarea):
    """A secret of several lines; what was typed is never shown again."""

    def format_value(self, value: Any) -> str:  # noqa: ARG002 - as PasswordInput does it
        return ""


class SchemaForm(forms.Form):
    """Made by `form_class`. After `is_valid()`, `result()` is the JSON object to store.

    `stored`: the values as they are now. Secret ones are never rendered; an input left empty keeps them.
    """

    json_schema: Mapping[str, Any] = {}

    def __init__(self, *args: Any, stored: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        self._stored = dict(stored or {})
        secret = schemas.secret_names(self.json_schema)
        shown = {name: value for name, value in self._stored.items() if name not in secret}
        kwargs["initial"] = {**schemas.defaults(self.json_schema), **shown, **(kwargs.get("initial") or {})}
        for name in secret:
            kwargs["initial"].pop(name, None)
        super().__init__(*args, **kwargs)
        for name in secret:
            if self._stored.get(name):
                self.fields[name].required = False
                self.fields[name].help_text = f"{self.fields[name].help_text} {KEEP}".strip()

    def clean(self) -> dict[str, Any]:
        """Checks the whole against the schema; each sentence stands at its field."""
        data = super().clean() or self.cleaned_data
        if not self.errors:
            for name, sentence in schemas.problems(self.json_schema, self.result()).items():
                self.add_error(name if name in self.fields else None, sentence)
        return data

    def result(self) -> dict[str, Any]:
        """The JSON object: what was typed, kept secrets, and stored values that the schema allows without knowing them."""
        known = schemas.properties(self.json_schema)
        open_ended = self.json_schema.get("additionalProperties", True) is not False
        kept = {name: value for name, value in self._stored.items() if open_ended and name not in known}
        given = {name: self._value(name) for name in known if name in self.cleaned_data}
        return {**kept, **{name: value for name, value in given.items() if value is not None}}

    def _value(self, name: str) -> Any:
        value = self.cleaned_data[name]
        if value in ("", None) and name in schemas.secret_names(self.json_schema):
            return reveal(self._stored.get(name)) or None
        return None if value == "" else value


def form_class(schema: Mapping[str, Any]) -> type[SchemaForm]:
    """The form for this schema (an object with simple properties)."""
    required = set(schema.get("required", ()))
    fields = {name: _field(schema, name, one, name in required) for name, one in schemas.properties(schema).items()}
    return type("ConnectorForm", (SchemaForm,), {"json_schema": schema, **fields})


def _field(schema: Mapping[str, Any], name: str, one: Mapping[str, Any], required: bool) -> forms.Field:
    common = {"label": schemas.label(schema, name), "help_text": one.get("description", ""), "required": required}
    if "enum" in one:
        return _choice(one, common)
    match one.get("type", "string"):
        case "boolean":
            return forms.BooleanField(**{**common, "required": False})
        case "integer":
            return forms.IntegerField(**common, min_value=one.get("minimum"), max_value=one.get("maximum"))
        case "number":
            return forms.FloatField(**common, min_value=one.get("minimum"), max_value=one.get("maximum"))
        case _:
            return _text(one, common)


def _choice(one: Mapping[str, Any], common: Mapping[str, Any]) -> forms.Field:
    """The values keep their type; the form sees them as text."""
    values = {str(value): value for value in one["enum"]}
    choices = [(text, text) for text in values]
    if not common["required"]:
        choices = [("", "—"), *choices]
    return forms.TypedChoiceField(**common, choices=choices, coerce=values.__getitem__, empty_value=None)


def _text(one: Mapping[str, Any], common: Mapping[str, Any]) -> forms.Field:
    limits: dict[str, Any] = {"min_length": one.get("minLength"), "max_length": one.get("maxLength")}
    if one.get("writeOnly") and one.get("contentMediaType") == PEM:
        return forms.CharField(
            **common, **limits, widget=SecretLines(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"})
        )
    if one.get("writeOnly"):
        hidden = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
        return forms.CharField(**common, **limits, widget=hidden)
    match one.get("format"):
        case "uri":
            return forms.CharField(**common, **limits, widget=forms.URLInput())
        case "email":
            return forms.EmailField(**common, **limits)
        case _:
            return forms.CharField(**common, **limits)
