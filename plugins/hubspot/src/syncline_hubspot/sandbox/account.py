"""Owners, pipelines and the account itself: read only here, as far as the API offers them."""

from __future__ import annotations

from .clock import iso
from .wire import Call, Json, Reply, not_found_html, not_found_json


def list_owners(call: Call) -> Reply:
    email, after = call.query.get("email"), call.query.get("after")
    limit = call.limit(100, 500)
    archived = call.query.get("archived") == "true"
    owners = [each for each in call.portal.owners if each["archived"] == archived and email in (None, each["email"])]
    owners = [each for each in owners if not after or int(each["id"]) > int(after)]
    body: Json = {"results": owners[:limit]}
    if len(owners) > limit:
        last = owners[limit - 1]["id"]
        body["paging"] = {"next": {"after": last, "link": call.link(after=last)}}
    return Reply(200, body)


def get_owner(call: Call) -> Reply:
    field = "userId" if call.query.get("idProperty") == "userId" else "id"
    for owner in call.portal.owners:
        if str(owner[field]) == call.args["id"]:
            return Reply(200, owner)
    raise not_found_html()


def list_pipelines(call: Call) -> Reply:
    table = call.portal.table(call.args["type"])
    return Reply(200, {"results": call.portal.pipelines.get(table.kind.name, [])})


def _pipeline(call: Call) -> Json:
    for pipeline in list_pipelines(call).payload["results"]:
        if pipeline["id"] == call.args["id"]:
            held: Json = pipeline
            return held
    raise not_found_json()


def get_pipeline(call: Call) -> Reply:
    return Reply(200, _pipeline(call))


def list_stages(call: Call) -> Reply:
    return Reply(200, {"results": _pipeline(call)["stages"]})


def details(call: Call) -> Reply:
    return Reply(
        200,
        {
            "portalId": call.portal.id,
            "accountType": "STANDARD",
            "timeZone": "Europe/London",
            "companyCurrency": "GBP",
            "additionalCurrencies": [],
            "utcOffset": "+00:00",
            "utcOffsetMilliseconds": 0,
            "uiDomain": "app.hubspot.com",
            "dataHostingLocation": "na1",
        },
    )


def daily_usage(call: Call) -> Reply:
    limits = call.server.limits
    usage = {
        "name": "private-apps-api-calls-daily",
        "usageLimit": call.server.config.daily,
        "currentUsage": limits.used_today(call.portal.id),
        "collectedAt": iso(call.portal.clock.now()),
        "fetchStatus": "SUCCESS",
        "resetsAt": limits.resets_at(),
    }
    return Reply(200, {"results": [usage]})
