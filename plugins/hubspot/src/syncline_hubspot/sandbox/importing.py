"""Working through imports in time: three at once, errors by row, and no word about the other rows."""

from __future__ import annotations

from typing import Any

from .imports import Import
from .portal import Portal
from .records import COMPANIES, Record, Table, Values
from .refusals import Refusal
from .writes import Writer

AT_ONCE = 3
#: Of a refusal when records are written → of an import.
TYPES = {
    "INVALID_OPTION": "INVALID_ENUMERATION_OPTION",
    "INVALID_INTEGER": "COULD_NOT_PARSE_NUMBER",
    "INVALID_LONG": "COULD_NOT_PARSE_DATE",
    "INVALID_DATE": "COULD_NOT_PARSE_DATE",
    "INVALID_EMAIL": "INVALID_EMAIL",
    "PROPERTY_DOESNT_EXIST": "PROPERTY_DEFINITION_NOT_FOUND",
    "CONFLICTING_UNIQUE_VALUE": "DUPLICATE_UNIQUE_PROPERTY_VALUE",
    "CONFLICT": "DUPLICATE_UNIQUE_PROPERTY_VALUE",
}


def advance(portal: Portal) -> None:
    """What time has brought: gives the first three their turn and works through the rows that time allows."""
    imports = portal.imports
    now, rate = portal.clock.now(), portal.config.import_rows_per_s
    imports.open = [one for one in imports.open if not one.ended]
    for one in imports.open[:AT_ONCE]:
        if one.begun is None:
            one.begun, one.state = now, "STARTED"
        due = len(one.rows) if not rate else min(len(one.rows), int((now - one.begun) * rate))
        if due > one.done:
            one.state, one.updated = "PROCESSING", now
            _Worker(portal, one).work(due)
        if one.done == len(one.rows):
            one.state, one.updated = "DONE", now
    for one in imports.open[AT_ONCE:]:
        one.state = "DEFERRED"


class _Worker:
    """Works through some rows of an import."""

    def __init__(self, portal: Portal, one: Import) -> None:
        self.portal, self.one = portal, one
        self.domains = _domains(one.table) if one.table.kind is COMPANIES else {}

    def work(self, until: int) -> None:
        one = self.one
        while one.done < until:
            self._row(one.done, one.rows[one.done])
            one.done += 1

    def _row(self, number: int, row: list[str]) -> None:
        one = self.one
        one.counts["TOTAL_ROWS"] += 1
        if len(row) != len(one.columns):
            self._fault(number, row, "INCORRECT_NUMBER_OF_COLUMNS", "The row has not as many columns as the header.")
            return
        given = {c.property: v for c, v in zip(one.columns, row, strict=True) if v != ""}
        record, fault = self._existing(row)
        if fault:
            self._fault(number, row, *fault)
        elif one.operation == "CREATE" and record:
            self._fault(number, row, "CREATE_ONLY_IMPORT", "The record exists already.")
        elif one.operation == "UPDATE" and not record:
            self._fault(number, row, "UPDATE_ONLY_IMPORT", "There is no such record.")
        else:
            self._write(number, row, given, record)

    def _existing(self, row: list[str]) -> tuple[Record | None, tuple[str, str] | None]:
        """By the alternate id. A row without one makes a new record."""
        one, place = self.one, self.one.identifier
        value = row[place].strip().casefold() if place is not None else ""
        if place is None or not value:
            return None, None
        if value in one.named:
            return None, ("DUPLICATE_ALTERNATE_ID", "An earlier row of the file has the same identifier.")
        one.named.add(value)
        name = one.columns[place].property
        if name != "domain":
            return one.table.by_unique(name, value), None
        ids = [i for i in self.domains.get(value, ()) if one.table.live(i)]
        if len(ids) > 1:
            return None, ("MULTIPLE_COMPANIES_WITH_THIS_DOMAIN", f"{len(ids)} companies have the domain {value}.")
        return (one.table.live(ids[0]) if ids else None), None

    def _write(self, number: int, row: list[str], given: Values, record: Record | None) -> None:
        """A value that does not fit is left out, and told; the rest of the row is written."""
        while True:
            writer = Writer(self.portal, self.one.table)
            try:
                plan = writer.plan_update(record, given) if record else writer.plan_create(given)
                break
            except Refusal as refusal:
                bad = {problem.property for problem in refusal.problems}
                self._refused(number, row, refusal)
                given = {name: value for name, value in given.items() if name not in bad}
                unique = any(p.code == "CONFLICTING_UNIQUE_VALUE" for p in refusal.problems)
                if not bad or unique:
                    return
        written, _ = writer.commit(plan)
        self.one.counts["UPDATED_OBJECTS" if record else "CREATED_OBJECTS"] += 1
        self.one.counts["UNIQUE_OBJECTS_WRITTEN"] += 1
        if domain := written.values.get("domain"):
            self.domains.setdefault(domain.casefold(), []).append(written.id)
            self.domains[domain.casefold()] = list(dict.fromkeys(self.domains[domain.casefold()]))

    def _refused(self, number: int, row: list[str], refusal: Refusal) -> None:
        places = {c.property: n for n, c in enumerate(self.one.columns)}
        for problem in refusal.problems:
            place = places.get(problem.property)
            kind = TYPES.get(problem.code, "FAILED_VALIDATION")
            extra = {} if place is None else {"knownColumnNumber": place, "invalidValue": row[place]}
            self._fault(number, row, kind, problem.message, **extra)
        if not refusal.problems:
            kind = (
                "MISSING_REQUIRED_PROPERTY" if "properties" in refusal.context else TYPES.get(refusal.category, "UNKNOWN_ERROR")
            )
            self._fault(number, row, kind, refusal.message)

    def _fault(self, number: int, row: list[str], kind: str, message: str, **extra: Any) -> None:
        one = self.one
        one.counts["ERRORS"] += 1
        line = {
            "additionalRowData": [],
            "containsEncryptedProperties": False,
            "fileId": int(one.id) % 2**31,
            "lineNumber": number + 2,
            "rowData": row,
        }
        told = {"id": f"{one.id}{len(one.errors):06}", "createdAt": int(self.portal.clock.now()), "errorType": kind}
        about = {"objectTypeId": one.table.kind.type_id, "objectType": one.table.kind.code}
        one.errors.append({**told, **about, "errorMessage": message, "sourceData": line, **extra})


def _domains(table: Table) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in table.records.values():
        if record.archived_at is None:
            names = [record.values.get("domain", ""), *record.values.get("hs_additional_domains", "").split(";")]
            for name in filter(None, names):
                found.setdefault(name.casefold(), []).append(record.id)
    return found
