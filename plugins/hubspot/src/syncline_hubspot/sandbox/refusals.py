"""Why something is not written, in HubSpot's words."""

from __future__ import annotations

from dataclasses import dataclass, field

from .portal import Portal
from .wire import ApiError, Json, Reply, correlation_id, embedded


@dataclass(slots=True)
class Problem:
    code: str
    message: str
    property: str

    def as_json(self, portal_id: int) -> Json:
        return {
            "isValid": False,
            "message": self.message,
            "error": self.code,
            "name": self.property,
            "localizedErrorMessage": self.message,
            "portalId": portal_id,
        }


@dataclass(slots=True)
class Refusal(Exception):
    """Why one input is not written."""

    problems: list[Problem] = field(default_factory=list)
    category: str = "VALIDATION_ERROR"
    message: str = ""
    context: dict[str, list[str]] = field(default_factory=dict)

    def text(self, portal_id: int) -> str:
        if not self.problems:
            return self.message
        return f"Property values were not valid: {embedded([each.as_json(portal_id) for each in self.problems])}"

    def details(self) -> list[Json]:
        return [
            {"message": each.message, "code": each.code, "context": {"propertyName": [each.property]}} for each in self.problems
        ]


def refused(portal: Portal, refusals: list[Refusal]) -> ApiError:
    """The answer to a call of which nothing was written; a conflict names only the first clash."""
    first = next((each for each in refusals if each.category == "CONFLICT"), None)
    if first is None:
        first = Refusal([problem for each in refusals for problem in each.problems])
        if not first.problems:
            first = refusals[0]
    body: Json = {"status": "error", "message": first.text(portal.id), "correlationId": correlation_id()}
    if first.problems:
        body["errors"] = first.details()
    elif first.category != "CONFLICT" and first.context:
        body["context"] = first.context
    body["category"] = first.category
    return ApiError(Reply(409 if first.category == "CONFLICT" else 400, body))
