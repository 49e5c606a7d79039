"""Forms whose fields come from a connector: settings of registrations and connections, credentials per way to sign in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils.functional import cached_property

from syncline.connections import schema, service
from syncline.connections.models import Connection, ConnectionState, ConnectorState, Registration
from syncline.connections.schema_form import SchemaForm, form_class
from syncline.contract import Account, AuthMethod, SynclineError
from syncline.registry import Connector, connectors

from .base import ModelForm

CORRECT = "Some fields below need correcting; each says how."


def usable_connector(key: str) -> Connector | None:
    """Loaded and switched on; without it there is no schema to make a form from."""
    if ConnectorState.objects.filter(key=key, enabled=False).exists():
        return None
    return connectors().get(key)


def usable_connectors() -> list[Connector]:
    off = set(ConnectorState.objects.filter(enabled=False).values_list("key", flat=True))
    return [one for key, one in connectors().items() if key not in off]


def subform(json_schema: Mapping[str, Any], prefix: str, data: Any, stored: Mapping[str, Any]) -> SchemaForm:
    return form_class(json_schema)(data, prefix=prefix, stored=stored, use_required_attribute=False)


class ConnectorForm(ModelForm):
    """A model form for something of one connector, with the connector's settings below it."""

    connector_key = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.connector = self.connector_key
        self.connector = usable_connector(self.connector_key)
        posted = self.data if self.is_bound else None
        wanted = self.connector.info.settings_schema if self.connector else {}
        self.settings_form = subform(wanted, "settings", posted, {**self.inherited(), **self.instance.settings})

    def inherited(self) -> dict[str, Any]:
        """What applies where nothing is set here."""
        return schema.defaults(self.connector.info.settings_schema) if self.connector else {}

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if not self.settings_form.is_valid():
            self.add_error(None, CORRECT)
        return data

    def own_settings(self) -> dict[str, Any]:
        """Only what differs from what is inherited, so that later changes there still arrive here."""
        if self.connector is None:
            return dict(self.instance.settings)
        inherited = self.inherited()
        return {name: value for name, value in self.settings_form.result().items() if inherited.get(name) != value}

    def _get_validation_exclusions(self) -> set[str]:
        """The connector is no field of the form, but names are unique within it."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded - {"connector"}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if not self.errors:
            self.instance.settings = self.own_settings()


class RegistrationForm(ConnectorForm):
    class Meta:
        model = Registration
        fields = ("name", "client_id", "client_secret", "redirect_uri")


class ConnectionForm(ConnectorForm):
    """Proves new credentials and new settings before they are stored."""

    sign_in = forms.ChoiceField(label="Way to sign in", required=False)
    unchecked = forms.BooleanField(
        label="Save without checking",
        required=False,
        help_text="For when the account cannot be reached now. The connection is “not checked yet” until a check succeeds.",
    )

    class Meta:
        model = Connection
        fields = ("name", "owner", "registration")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account: Account | None = None
        before = kwargs.get("instance")
        self._registration_before = before.registration_id if before else None
        if "registration" in self.fields:
            known = Registration.objects.filter(connector=self.connector_key).order_by("name")
            self.fields["registration"].queryset = known  # type: ignore[attr-defined]
        self.fields["sign_in"].choices = [(one.key, one.title) for one in self.methods]  # type: ignore[attr-defined]
        self.initial.setdefault("sign_in", self.instance.auth_method or next((one.key for one in self.methods), ""))
        posted = self.data if self.is_bound else None
        self.credential_forms = {one.key: self._credentials(one, posted) for one in self.typed_methods}

    def inherited(self) -> dict[str, Any]:
        of_registration = self.instance.registration.settings if self.instance.registration else {}
        return {**super().inherited(), **of_registration}

    @cached_property
    def methods(self) -> list[AuthMethod]:
        return list(self.connector.call.auth_methods()) if self.connector else []

    @property
    def typed_methods(self) -> list[AuthMethod]:
        return [one for one in self.methods if one.kind not in {"oauth2", "none"} or schema.properties(one.schema)]

    def _credentials(self, method: AuthMethod, posted: Any) -> SchemaForm:
        stored = self.instance.credentials if self.instance.auth_method == method.key else None
        return subform(method.schema, f"credentials-{method.key}", posted, stored or {})

    @property
    def typed(self) -> SchemaForm | None:
        """The credentials form of the chosen way to sign in, when something was typed into it."""
        chosen = self.credential_forms.get(self.cleaned_data.get("sign_in", ""))
        return chosen if chosen is not None and chosen.has_changed() else None

    @property
    def keyless(self) -> bool:
        """The chosen way to sign in needs nothing to be typed: what there is to prove is that the system answers."""
        chosen = next((one for one in self.methods if one.key == self.cleaned_data.get("sign_in", "")), None)
        return chosen is not None and chosen.kind == "none" and chosen.key not in self.credential_forms

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        chosen = self.credential_forms.get(data.get("sign_in", ""))
        needed = chosen is not None and not self.instance.credentials
        if chosen is not None and (needed or self.typed) and not chosen.is_valid():
            self.add_error(None, CORRECT)
        self._refuse_stray_credentials(str(data.get("sign_in", "")))
        return data

    def _refuse_stray_credentials(self, chosen: str) -> None:
        """Nothing that was typed is dropped silently."""
        for method in self.typed_methods:
            given = self.credential_forms[method.key]
            if method.key != chosen and any(given[name].data for name in given.changed_data):
                self.add_error("sign_in", f"Something was typed for “{method.title}”. Choose that way to sign in, or clear it.")

    def _post_clean(self) -> None:
        before = dict(self.instance.settings)
        super()._post_clean()
        if self.errors or self.connector is None or self.cleaned_data.get("unchecked"):
            return
        moved = self.instance.settings != before or self.instance.registration_id != self._registration_before
        another = self.cleaned_data["sign_in"] != self.instance.auth_method
        begun = self.keyless and (moved or another or self.instance.state != ConnectionState.OK)
        if self.typed or begun or (moved and self.instance.credentials):
            self._prove()

    def _prove(self) -> None:
        credentials = self.given()
        method = "" if credentials is None else self.cleaned_data["sign_in"]
        try:
            self.account = service.prove(self.instance, method, credentials)
        except SynclineError as error:
            self.add_error(None, f"{error} Nothing was saved.")

    def given(self) -> Mapping[str, Any] | None:
        """What is to be stored as credentials; None when they stay as they are."""
        if self.typed:
            return self.typed.result()
        return {} if self.keyless else None

    def store(self, user: User) -> None:
        """Saves the connection, with what was proven."""
        connection = self.instance
        if connection.owner_id is None:
            connection.owner = user
        connection.save()
        method, credentials = self.cleaned_data.get("sign_in", ""), self.given()
        if credentials is None and self.account:
            service.note_proven(connection, self.account)
        elif credentials is not None and self.account:
            service.store_proven(connection, method, credentials, self.account)
        elif credentials is not None and (self.typed or connection.auth_method != method):
            service.save_credentials(connection, method, credentials)
