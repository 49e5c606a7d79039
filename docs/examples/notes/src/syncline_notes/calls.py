"""The calls to Notes, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from syncline.contract import Permanent, Response, Retryable, Session


def get(session: Session, path: str, **params: str) -> Any:
    """Reading twice is the same as once: `repeatable` lets `http` try again after a time-out."""
    return answered(session.http.request("GET", session.settings["base_url"] + path, params=params, repeatable=True))


def post(session: Session, path: str, body: Mapping[str, Any], *, repeatable: bool = False) -> Any:
    return answered(session.http.request("POST", session.settings["base_url"] + path, json=body, repeatable=repeatable))


def answered(response: Response) -> Any:
    """The answer's JSON; Permanent when Notes refused the whole request (`http` has dealt with 401, 429 and 5xx)."""
    if response.status < 400:
        return response.json()
    raise Permanent(f"Notes refused {response.method} {response.path} with {response.status}: {reason(response)}")


def reason(response: Response) -> str:
    body = response.json()
    error = body.get("error") if isinstance(body, dict) else None
    return error["message"] if isinstance(error, dict) and "message" in error else "it gave no reason"


def listing(session: Session, path: str, **params: str) -> Any:
    """A page. An empty one is asked for again before it is believed: it would pass for the end, and all that follows for gone."""
    for _ in range(2):
        answer = get(session, path, **params)
        if answer["notes"]:
            return answer
    if answer["next"]:
        raise Retryable("Notes answered with an empty page in the middle of a listing. It is listed again.")
    return answer
