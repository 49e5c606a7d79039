"""The rules of writing records: what is refused, what HubSpot adds, what the answer holds.

A batch is planned first, without effect, and then carried out: that is how one bad input can refuse the whole of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .clock import iso
from .portal import API, APP_ID, Portal
from .records import COMPANIES, CONTACTS, DEALS, MOST_EDITS, Edit, Record, Table, Values
from .refusals import Problem, Refusal
from .values import LONGEST_STRING, BadValue, appended, check_string

_LIFECYCLE = ("subscriber", "lead", "marketingqualifiedlead", "salesqualifiedlead", "opportunity", "customer", "evangelist")
_SOURCE = {"hs_object_source": "INTEGRATION", "hs_object_source_id": str(APP_ID), "hs_object_source_label": "INTEGRATION"}
_ADDED: dict[str, Values] = {
    "companies": {
        **_SOURCE,
        "hs_pipeline": "companies-lifecycle-pipeline",
        "lifecyclestage": "lead",
        "hs_num_blockers": "0",
        "hs_num_child_companies": "0",
        "hs_num_decision_makers": "0",
        "hs_num_open_deals": "0",
        "num_associated_contacts": "0",
        "num_notes": "0",
    },
    "contacts": {
        **_SOURCE,
        "hs_pipeline": "contacts-lifecycle-pipeline",
        "lifecyclestage": "lead",
        "hs_is_contact": "true",
        "hs_is_unworked": "true",
        "num_notes": "0",
    },
    "deals": {**_SOURCE, "pipeline": "default", "num_associated_contacts": "0", "num_notes": "0"},
}


_ALWAYS = ("createdate", "hs_createdate", "hs_object_id")


@dataclass(slots=True)
class Plan:
    """One input that may be written."""

    values: Values
    cleared: list[str]
    record: Record | None
    trace: str | None = None


Claims = dict[tuple[str, str], str]
"""Unique values taken by earlier inputs of the same batch."""


class Writer:
    """One writing call against one table; everything it writes bears the same instant.

    `source`: who writes, for webhooks and histories; "" tells nobody.
    """

    def __init__(self, portal: Portal, table: Table, source: str = API) -> None:
        self.portal = portal
        self.table = table
        self.source = source
        self.now = portal.clock.now()
        self.stamp = iso(self.now)
        self.claims: Claims = {}

    # planning

    def plan_create(self, given: Mapping[str, Any]) -> Plan:
        values, cleared = self._clean(given)
        self._require(values)
        self._unique(values, None)
        return Plan(values, cleared, None)

    def plan_update(self, record: Record, given: Mapping[str, Any]) -> Plan:
        self.table.settle(record, self.now, self.portal.config.index_lag_s)
        values, cleared = self._clean(given)
        if "lifecyclestage" in values and _goes_back(record.values.get("lifecyclestage"), values["lifecyclestage"]):
            del values["lifecyclestage"]
        for name, value in values.items():
            if value[:1] == ";":
                values[name] = appended(record.values.get(name), value)
        self._unique(values, record.id)
        return Plan(values, cleared, record)

    def _clean(self, given: Mapping[str, Any]) -> tuple[Values, list[str]]:
        values: Values = {}
        cleared: list[str] = []
        problems: list[Problem] = []
        checks = self.table.checks
        for name, value in given.items():
            try:
                check = checks[name]
                if check is None:
                    problems.append(_read_only(name))
                elif check is check_string and type(value) is str and 0 < len(value) <= LONGEST_STRING:
                    values[name] = value  # by far the most common case, spared a call
                elif value is None or value == "":
                    cleared.append(name)
                else:
                    values[name] = check(value)
            except KeyError:
                problems.append(Problem("PROPERTY_DOESNT_EXIST", f'Property "{name}" does not exist', name))
            except BadValue as bad:
                problems.append(Problem(bad.code, bad.message, name))
        self._references(values, problems)
        if problems:
            raise Refusal(problems)
        return values, cleared

    def _references(self, values: Values, problems: list[Problem]) -> None:
        """Values that must name something of this account."""
        owner = values.get("hubspot_owner_id")
        if owner is not None:
            known = [each["id"] for each in self.portal.owners]
            if owner not in known:
                problems.append(_no_option("hubspot_owner_id", owner, known))
        stage = values.get("dealstage")
        if stage is not None and self.table.kind is DEALS:
            stages = [each["id"] for pipeline in self.portal.pipelines["deals"] for each in pipeline["stages"]]
            if stage not in stages:
                problems.append(_no_option("dealstage", stage, stages))

    def _require(self, values: Values) -> None:
        kind = self.table.kind
        missing = [name for name in kind.needs_all if name not in values]
        if kind.needs_any and values.keys().isdisjoint(kind.needs_any):
            missing = list(kind.needs_any)
        if missing:
            message = f"Error creating {kind.code}. Some required properties were not set."
            raise Refusal(message=message, context={"properties": missing})

    def _unique(self, values: Values, own_id: str | None) -> None:
        taken: list[tuple[str, str]] = []
        for name, holders in self.table.unique.items():
            value = values.get(name)
            if value:
                key = (name, value.casefold())
                holder = holders.get(key[1])
                if (holder and holder != own_id) or key in self.claims:
                    raise self._conflict(name, value, holder)
                taken.append(key)
        for key in taken:
            self.claims[key] = own_id or ""

    def _conflict(self, name: str, value: str, holder: str | None) -> Refusal:
        if name == "email":
            message = f"Contact already exists. Existing ID: {holder}" if holder else "Contact already exists"
            return Refusal(category="CONFLICT", message=message, context={"existingId": [holder]} if holder else {})
        where = f"portalId={self.portal.id}, objectTypeId={self.table.kind.type_id}, propertyName={name}, value={value}"
        message = f"Cannot set PropertyValueCoordinates{{{where}}}. {holder or 'Another input'} already has that value."
        return Refusal([Problem("CONFLICTING_UNIQUE_VALUE", message, name)])

    # carrying out

    def commit(self, plan: Plan) -> tuple[Record, Values]:
        """Writes a plan; returns the record and the properties of the answer."""
        record = plan.record
        if record is None:
            record = self._insert(plan.values)
            return record, {**record.values, **dict.fromkeys(plan.cleared, "")} if plan.cleared else record.values
        return record, self._change(record, plan)

    def _insert(self, given: Values) -> Record:
        table = self.table
        record_id = table.next_id()
        values = {
            **_ADDED.get(table.kind.name, _SOURCE),
            **given,
            "hs_object_id": record_id,
            "createdate" if "createdate" in table.definitions else "hs_createdate": self.stamp,
            table.kind.modified: self.stamp,
        }
        self._derive(values, given, record_id)
        touch = self.portal.config.self_touch_s
        record = Record(record_id, values, self.stamp, self.stamp, self.now + touch if touch else 0.0)
        table.add(record)
        table.index(record, self.now, self.portal.config.index_lag_s)
        self.portal.tell(table, "creation", record_id, self.source, changeFlag="CREATED")
        return record

    def _change(self, record: Record, plan: Plan) -> Values:
        written = {**plan.values, self.table.kind.modified: self.stamp}
        self._release_changed(record, plan)
        values = {**record.values, **written}
        for name in plan.cleared:
            values.pop(name, None)
        derived = self._derive(values, plan.values, record.id)
        self._note(record, values, (*plan.values, *plan.cleared))
        record.values, record.updated = values, self.stamp
        self.table.claim(record.id, plan.values)
        self.table.index(record, self.now, self.portal.config.index_lag_s)
        kept: Values = {name: values[name] for name in _ALWAYS if name in values}
        return {**kept, **dict.fromkeys(plan.cleared, ""), **written, **derived}

    def _note(self, record: Record, values: Values, names: tuple[str, ...]) -> None:
        """Keeps what changed for the record's history, and tells it; a value written once more is no change."""
        old = record.values
        changed = {name: (old.get(name), values.get(name)) for name in names if old.get(name) != values.get(name)}
        if changed:
            record.past = (*record.past[1 - MOST_EDITS :], Edit(self.stamp, self.source or API, changed))
        for name, (_, new) in changed.items():
            self.portal.tell(self.table, "propertyChange", record.id, self.source, propertyName=name, propertyValue=new or "")

    def _release_changed(self, record: Record, plan: Plan) -> None:
        for name, holders in self.table.unique.items():
            if name in plan.values or name in plan.cleared:
                old = record.values.get(name, "").casefold()
                if holders.get(old) == record.id:
                    del holders[old]

    def _derive(self, values: Values, given: Values, record_id: str) -> Values:
        """What HubSpot works out from what was written; changes `values` and returns the derived ones."""
        derived: Values = {}
        if self.table.kind is COMPANIES:
            if "domain" in given and not values.get("website"):
                derived["website"] = given["domain"]
            derived["hs_task_label"] = values.get("name") or values.get("domain", "")
        elif self.table.kind is CONTACTS:
            email = values.get("email", "")
            name = " ".join(filter(None, (values.get("firstname"), values.get("lastname"))))
            derived["hs_full_name_or_email"] = name or email
            if email:
                derived["hs_email_domain"] = email.rpartition("@")[2]
            if "hs_all_contact_vids" not in values:
                derived["hs_all_contact_vids"] = record_id
        values.update(derived)
        return derived


def _read_only(name: str) -> Problem:
    return Problem("READ_ONLY_VALUE", f'"{name}" is a read only property; its value cannot be set.', name)


def _no_option(name: str, value: str, known: list[str]) -> Problem:
    return Problem("INVALID_OPTION", f"{value} was not one of the allowed options: [{', '.join(known)}]", name)


def _goes_back(old: str | None, new: str) -> bool:
    """The lifecycle stage only moves forward; HubSpot ignores the rest without a word."""
    return old in _LIFECYCLE and new in _LIFECYCLE and _LIFECYCLE.index(new) < _LIFECYCLE.index(old)
