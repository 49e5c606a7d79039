"""Forms of a sync: its settings, its field rules and its match steps."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.forms.models import BaseInlineFormSet
from django.utils.functional import cached_property

from syncline.catalog import service as catalog
from syncline.connections.models import Connection
from syncline.contract import Dataset, ObjectType, SynclineError
from syncline.contract.normalise import NORMALISERS
from syncline.registry import dataset, datasets
from syncline.runs import schedule
from syncline.runs.models import Run
from syncline.syncs import notation, promises
from syncline.syncs.models import FieldRule, MatchStepRow, Sync

from . import continuous, directions
from .base import ModelForm

TARGETS: Final = "remote-properties"  # id of the datalist with what the catalog offers


def dataset_of(sync: Sync) -> Dataset | None:
    """None when its app is gone; the page then says so in its list of problems."""
    try:
        return dataset(sync.dataset)
    except SynclineError:
        return None


def object_of(sync: Sync) -> ObjectType | None:
    try:
        return catalog.object_type(sync.connection, sync.object_type)
    except SynclineError:
        return None


def import_fields(sync: Sync) -> list[str]:
    """Settings of bulk imports, as far as the vendor offers them for this object."""
    found = object_of(sync)
    if found is None or not found.bulk_rows or directions.pulls(sync):
        return []
    return ["bulk_from", "bulk_match"] if found.bulk_match else ["bulk_from"]


class NewSyncForm(ModelForm):
    """The first step: what goes where. Made for one connection."""

    connection: Connection
    sources: Any = None

    class Meta:
        model = Sync
        fields = ("name", "dataset", "object_type", "source", "direction", "mode")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.connection = self.connection
        self.fields["direction"].required, self.fields["direction"].help_text = False, directions.HELP
        objects = catalog.objects(self.connection)
        offered = [(one.key, f"{one.title} ({one.key})") for one in objects]
        known = [(key, f"{one.info.label} ({key})") for key, one in continuous.offered_datasets(datasets(), objects).items()]
        self.fields["dataset"] = forms.ChoiceField(choices=known, help_text="What is synced.")
        self.fields["object_type"] = forms.ChoiceField(
            label="Object", choices=offered, help_text="The kind of remote record, from the catalog of the connection."
        )
        if "source" in self.fields:
            self.fields["source"] = source_field(self.sources, required=False, more=" Only for messages of the inbox.")
            self.fields["direction"].help_text = f"{directions.HELP} Of a log there is only one, whatever is chosen."

    def clean_direction(self) -> str:
        return self.cleaned_data["direction"] or Sync.Direction.PUSH

    def clean(self) -> dict[str, Any]:
        """Of a log nothing is asked that can only be one way."""
        given = super().clean() or self.cleaned_data
        found, there = datasets().get(given.get("dataset", "")), self._object(given.get("object_type", ""))
        if found is None or there is None:
            return given
        for name, said in continuous.complaints(found, there, given.get("source"), self.connection.owner).items():
            self.add_error(name if name in self.fields else None, said)
        only = continuous.beginning(found.info, there, given)
        self.instance.continuous = only["continuous"]
        return {**given, **only}

    def _object(self, key: str) -> ObjectType | None:
        return next((one for one in catalog.objects(self.connection) if one.key == key), None)


def source_field(queryset: Any, *, required: bool = True, more: str = "") -> Any:
    return forms.ModelChoiceField(
        queryset, required=required, label="Messages of", empty_label="—", help_text=f"{continuous.SOURCE_HELP}{more}"
    )


class SyncForm(ModelForm):
    """`sources`: connections whose messages may be passed on."""

    sources: Any = None

    class Meta:
        model = Sync
        fields = (
            "name", "direction", "mode", "delete_policy", "segment", "filter", "gone_policy", "drift_policy", "cron",
            "at_once", "changes_cron", "follows", "continuous", "source", "enabled", "bulk_from", "bulk_match",
        )  # fmt: skip
        labels = {
            "cron": "Schedule (cron, UTC)",
            "at_once": "Push changes at once",
            "changes_cron": "Push changes (cron, UTC)",
            "enabled": "Switched on",
        }
        help_texts = {
            "bulk_from": "At least so many new records go as files for the vendor's import; empty means never.",
            "bulk_match": "The import itself finds existing records, by the first match step, and overwrites them: nothing is"
            " looked up before. Every rule must write always, else it is not used.",
        }
        widgets = {
            "filter": forms.Textarea(attrs={"rows": 2, "cols": 80, "spellcheck": "false"}),
            "cron": forms.TextInput(attrs={"placeholder": "0 3 * * *"}),
            "changes_cron": forms.TextInput(attrs={"placeholder": "*/5 * * * *"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        directions.fit(self.fields, self.instance)
        if "source" in self.fields:
            self.fields["source"] = source_field(self.sources)
        if "continuous" in self.fields:
            shape = continuous.shape_of(dataset_of(self.instance), object_of(self.instance))
            self.fields["continuous"].help_text = continuous.HELP[shape]
        if "direction" in self.fields:
            self.fields["direction"].required, self.fields["direction"].help_text = False, directions.HELP
        if "segment" in self.fields:
            self.fields["segment"] = forms.ChoiceField(
                choices=self._segments(), required=False, help_text="Which records take part."
            )
        if "follows" in self.fields:
            beside = Sync.objects.filter(connection_id=self.instance.connection_id).exclude(pk=self.instance.pk)
            self.fields["follows"] = forms.ModelChoiceField(
                beside.order_by("name"),
                required=False,
                label="Starts after",
                empty_label="nothing: by its schedule, or by hand",
                help_text="It starts when a whole run of that sync has ended, e.g. people after companies.",
            )

    def _segments(self) -> list[tuple[str, str]]:
        found = dataset_of(self.instance)
        segments = [(one.key, one.label) for one in found.info.segments] if found else []
        known = {key for key, _ in segments}
        everything = [] if "" in known else [("", "All")]
        stale = self.instance.segment
        lost = [] if not stale or stale in known else [(stale, f"{stale} (no longer offered)")]
        return [*everything, *segments, *lost]

    def clean_direction(self) -> str:
        """A run that is on its way belongs to the direction it began with."""
        wanted = str(self.cleaned_data["direction"] or self.instance.direction)
        if wanted != self.instance.direction and Run.objects.filter(sync=self.instance, state__in=Run.ACTIVE).exists():
            raise forms.ValidationError("A run is active. Cancel it or let it end, then change the direction.")
        return wanted

    def clean_source(self) -> Connection:
        source: Connection = self.cleaned_data["source"]
        if complaint := continuous.source_complaint(source, self.instance.connection.owner):
            raise forms.ValidationError(complaint)
        return source

    def clean_cron(self) -> str:
        return _readable(self.cleaned_data["cron"])

    def clean_changes_cron(self) -> str:
        cron = _readable(self.cleaned_data["changes_cron"])
        if self.instance.direction == Sync.Direction.PULL:  # what changed there: nothing has to be watched here
            return cron
        return cron if self._can_watch(bool(cron)) else ""

    def clean_at_once(self) -> bool:
        return self._can_watch(bool(self.cleaned_data["at_once"]))

    def _can_watch(self, asked: bool) -> bool:
        """Whether changes here are to be watched; refused when they cannot be."""
        found = dataset_of(self.instance)
        if asked and found and (complaint := promises.undeclared(found)):
            raise forms.ValidationError(complaint)
        return asked

    def clean_delete_policy(self) -> str:
        """At once, because it is not part of the published mapping."""
        policy = str(self.cleaned_data["delete_policy"])
        found = object_of(self.instance) if directions.pushes(self.instance) else None
        if found and (complaint := promises.not_offered(policy, found)):
            raise forms.ValidationError(complaint)
        return policy


def _readable(cron: Any) -> str:
    text = " ".join(str(cron).split())
    if complaint := schedule.complaint(text):
        raise forms.ValidationError(complaint)
    return text


class TransformsField(forms.CharField):
    """Steps in the notation of `syncs.notation`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "required": False})

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else notation.write(value or [])

    def to_python(self, value: Any) -> Any:
        try:
            return notation.read(super().to_python(value) or "")
        except notation.Unreadable as error:
            raise forms.ValidationError(str(error)) from None

    def validate(self, value: Any) -> None:
        """An empty list is no missing value."""

    def run_validators(self, value: Any) -> None:
        """The notation has checked it."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial) != (data or "").strip())


class WordsField(forms.CharField):
    """A list of names, separated by commas."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(str(word) for word in value) if isinstance(value, list | tuple) else value

    def to_python(self, value: Any) -> Any:
        return [word.strip() for word in (super().to_python(value) or "").split(",") if word.strip()]

    def validate(self, value: Any) -> None:
        """An empty list is no missing value."""

    def run_validators(self, value: Any) -> None:
        """Names are checked with the whole mapping."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.prepare_value(initial or []) != (data or "").strip())


def _catalog_input() -> forms.TextInput:
    return forms.TextInput(attrs={"list": TARGETS, "autocomplete": "off", "spellcheck": "false"})


class DraftRow(ModelForm):
    """A new row whose order alone is filled in is an empty row: the page proposes the order."""

    def has_changed(self) -> bool:
        proposed = {"position"} if self.instance._state.adding else set()
        return bool(set(self.changed_data) - proposed)


class RuleForm(DraftRow):
    transforms = TransformsField(widget=forms.TextInput(attrs={"list": "transforms", "placeholder": "trim | lower"}))

    class Meta:
        model = FieldRule
        fields = (
            "position", "source", "expression", "transforms", "target", "association", "owner", "write_mode", "null_policy",
            "enabled",
        )  # fmt: skip
        widgets = {
            "position": forms.NumberInput(attrs={"min": 0, "class": "narrow"}),
            "expression": forms.Textarea(attrs={"rows": 1, "placeholder": "or CEL", "spellcheck": "false"}),
            "target": _catalog_input(),
        }


class StepForm(DraftRow):
    also = WordsField(required=False, label="also compared with")
    normalise = forms.ChoiceField(label="compared as", choices=[(name, name) for name in NORMALISERS], initial="text")

    class Meta:
        model = MatchStepRow
        fields = ("position", "property", "also", "normalise", "only_if_unique")
        widgets = {"position": forms.NumberInput(attrs={"min": 0, "class": "narrow"}), "property": _catalog_input()}


class NamedInputs(BaseInlineFormSet):  # type: ignore[type-arg]
    """Inputs in table cells have no label of their own; this one is read out."""

    what = ""

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if index is None or index >= self.initial_form_count():
            form.fields["position"].initial = self.initial_form_count() + 1 if index is None else index + 1
        number = "new" if index is None else str(index + 1)
        for name, field in form.fields.items():
            field.widget.attrs["aria-label"] = f"{self.what} {number}: {field.label or name}"


class StepFormSet(NamedInputs):
    what = "Match step"


class RuleFormSet(NamedInputs):
    what = "Rule"

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        if self.instance.direction != Sync.Direction.TWO_WAY:
            del form.fields["owner"]
        else:
            form.fields["owner"].choices = directions.OWNERS
        form.fields["source"].widget = forms.Select(
            choices=self._sources(form.instance.source), attrs=form.fields["source"].widget.attrs
        )

    def _sources(self, now: str) -> list[tuple[str, str]]:
        known = {name for name, _ in self._fields}
        lost = [(now, f"{now} (no longer offered)")] if now and now not in known else []
        return [("", "—"), *self._fields, *lost]

    @cached_property
    def _fields(self) -> list[tuple[str, str]]:
        found = dataset_of(self.instance)
        return [(one.name, one.label) for one in found.info.fields] if found else []
