"""On the path of a peer: what it sends to HubSpot goes to the sandbox at HUBSPOT_SANDBOX. Both have HubSpot's address built in.

Two answers are put right, so that each gets what it would get there: the second version of the properties API, which the
sandbox lacks, and a refusal for objects that the sandbox does not have.
"""

from __future__ import annotations

import json
import os
from typing import Any

import requests
from requests.adapters import HTTPAdapter

HUBSPOT = "https://api.hubapi.com"
OLD, NEW = "/properties/v2/", "/crm/v3/properties/"
send = HTTPAdapter.send


def redirected(self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
    asked = (request.url or "").removeprefix(HUBSPOT)
    old = asked.startswith(OLD)
    path = NEW + asked.removeprefix(OLD).partition("/")[0] if old else asked
    request.url = os.environ["HUBSPOT_SANDBOX"] + path
    response = send(self, request, *args, **kwargs)
    if old:
        response._content = json.dumps(response.json()["results"]).encode()
    elif path.startswith(NEW) and response.status_code == 400:
        response.status_code = 403
    return response


HTTPAdapter.send = redirected  # type: ignore[method-assign]
