"""Salesforce's REST API over the session's `http`: parsed bodies, anything but a 2xx raised (see `errors.failure`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncline.contract import Response, Retryable, Session, Upload

from .errors import Json, failure

DUPLICATES = {"Sforce-Duplicate-Rule-Header": "allowSave=false; includeRecordDetails=true"}


class Client:
    def __init__(self, session: Session) -> None:
        self._http, settings = session.http, session.settings
        self._base = settings["instance_url"].rstrip("/")
        self._version = settings["api_version"]
        # What we changed bears this name in the account's change events, so that it can be told from what people change.
        self._headers = {"Sforce-Call-Options": f"client=syncline-{session.installation}"}

    def get(self, path: str, **params: str) -> Any:
        return self._answer(self._call("GET", path, params=params, repeatable=True))

    def read(self, path: str, body: Json) -> Any:
        """A POST that changes nothing."""
        return self._answer(self._call("POST", path, json=body, repeatable=True))

    def write(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        """What the answer holds; None when it has no body."""
        response = self._call(method, path, json=body, params=params, headers=DUPLICATES)
        return response.json() if response.body else None

    def upload(self, path: str, body: Upload, kind: str) -> None:
        self._call("PUT", path, data=body, headers={"Content-Type": kind}, repeatable=True)

    def text(self, path: str, **params: str) -> Response:
        return self._call("GET", path, params=params, headers={"Accept": "text/csv"}, repeatable=True)

    def query(self, soql: str, *, deleted: bool = False) -> Json:
        """One page of a query. `deleted`: deleted records take part in it."""
        found = self.get("/queryAll" if deleted else "/query", q=soql)
        if not isinstance(found, dict) or not isinstance(found.get("records"), list):
            raise Retryable("Salesforce answered a query with success and without records. It is asked again.")
        return found

    def batch(self, paths: list[str]) -> list[Json]:
        """Up to 25 reads in one call; their results in order, each with `statusCode` and `result`."""
        asked = [{"method": "GET", "url": f"{self._version}{path}"} for path in paths]
        results = self.read("/composite/batch", {"batchRequests": asked}).get("results") or []
        if len(results) != len(paths):
            raise Retryable(f"Salesforce answered {len(results)} of {len(paths)} reads made in one call. They are made again.")
        return list(results)

    def _call(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any) -> Response:
        address = f"{self._base}/services/data/{self._version}{path}"
        response = self._http.request(method, address, headers={**self._headers, **(headers or {})}, **options)
        if response.status >= 300:
            raise failure(response)
        return response

    def _answer(self, response: Response) -> Any:
        if "json" not in response.headers.get("Content-Type", ""):
            raise Retryable(f"{response.method} {response.path} answered with a page instead of data.")
        return response.json()
