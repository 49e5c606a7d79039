"""Refusals in Salesforce's words: of a whole request, or of one record."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """The whole request is refused."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.body = status, [{"message": message, "errorCode": code, **more}]


class RecordRefused(Exception):
    """One record is refused; the others of its request are not."""

    def __init__(self, code: str, message: str, *fields: str, **more: Any) -> None:
        super().__init__(message)
        self.error = {"statusCode": code, "message": message, "fields": list(fields), **more}


def not_found() -> ApiError:
    return ApiError(404, "NOT_FOUND", "The requested resource does not exist")


def no_column(field: str, of: str) -> ApiError:
    return ApiError(400, "INVALID_FIELD", f"No such column '{field}' on sobject of type {of}")
