"""A local server that behaves like Notes: `python -m syncline_notes.sandbox --port 0`."""

from __future__ import annotations

import argparse
import itertools
import json
import threading
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TOKEN = "sandbox-token"  # noqa: S105 - of a local server
BATCH = 5
FIELDS: list[dict[str, Any]] = [
    {"name": "title", "label": "Title", "type": "text", "required": True, "longest": 200},
    {"name": "stars", "label": "Stars", "type": "number"},
    {"name": "done", "label": "Done", "type": "yes_no"},
    {"name": "due", "label": "Due", "type": "day"},
    {"name": "seen", "label": "Seen", "type": "moment"},
    {"name": "mood", "label": "Mood", "type": "option", "options": ["calm", "glad", "sad"]},
    {"name": "tags", "label": "Tags", "type": "options", "options": ["home", "idea", "work"]},
    {"name": "author", "label": "Author", "type": "email"},
]


class Refused(Exception):
    """A whole request that Notes does not carry out."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Store:
    """The account's notes and their fields, in memory."""

    def __init__(self) -> None:
        self.fields = {field["name"]: field for field in FIELDS}
        self.notes: dict[str, dict[str, Any]] = {}
        self.changed: dict[str, str] = {}
        self.lock = threading.Lock()
        self.jobs: dict[str, dict[str, Any]] = {}
        self._ids = itertools.count(1001)

    def handle(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("GET", "/account"): lambda: {"id": "acc-1", "name": "Sandbox"},
            ("GET", "/fields"): lambda: {"fields": list(self.fields.values())},
            ("POST", "/fields"): lambda: self.add_field(body),
            ("GET", "/notes"): lambda: self.listed(query.get("after", ""), query.get("since", ""), int(query.get("limit", "3"))),
            ("POST", "/notes/read"): lambda: {"notes": [self.shown(i) for i in limited(body["ids"]) if i in self.notes]},
            ("POST", "/notes/search"): lambda: {"notes": self.found(body["field"], limited(body["values"]))},
            ("POST", "/notes/batch"): lambda: self.batch(body["op"], limited(body["items"])),
            ("POST", "/jobs"): lambda: self.add_job(body["name"], body["items"]),
            ("GET", "/jobs"): lambda: {"jobs": [job for job in self.jobs.values() if job["name"] == query["name"]]},
            **{("GET", f"/jobs/{number}"): partial(self.look, number) for number in self.jobs},
        }
        if (method, path) not in known:
            raise Refused(404, f"There is no {method} {path}.")
        with self.lock:
            return known[method, path]()

    def add_field(self, field: dict[str, Any]) -> dict[str, Any]:
        if field["name"] in self.fields:
            raise Refused(409, f"There is a field {field['name']} already.")
        self.fields[field["name"]] = field
        return field

    def listed(self, after: str, since: str, limit: int) -> dict[str, Any]:
        ids = [note_id for note_id in self.notes if note_id > after and self.changed[note_id] >= since]
        page = ids[:limit]
        return {"notes": [self.shown(i) for i in page], "next": page[-1] if len(ids) > limit else None}

    def shown(self, note_id: str) -> dict[str, Any]:
        return {"id": note_id, "changed": self.changed[note_id], "fields": self.notes[note_id]}

    def found(self, field: str, values: list[str]) -> list[dict[str, Any]]:
        """Ignores case, as most searches do."""
        wanted = {value.casefold() for value in values}
        return [self.shown(i) for i, fields in self.notes.items() if str(fields.get(field)).casefold() in wanted]

    def batch(self, op: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Answers in another order than asked, as many services do."""
        return {"results": [{"ref": item["ref"], **self.write(op, item)} for item in items][::-1]}

    def add_job(self, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        number = f"job-{len(self.jobs) + 1}"
        self.jobs[number] = {"id": number, "name": name, "state": "running", "items": items}
        return self.jobs[number]

    def look(self, number: str) -> dict[str, Any]:
        """Whoever looks first finds the job still running."""
        job = self.jobs[number]
        if items := job.pop("items", None):
            job["results"] = [{"key": item["fields"]["syncline_key"], **self.write("upsert", item)} for item in items]
            return job
        return job | {"state": "done"}

    def write(self, op: str, item: dict[str, Any]) -> dict[str, Any]:
        note_id = self.keyed(item["fields"].get("syncline_key")) if op == "upsert" else item["id"]
        if op == "update" and note_id not in self.notes:
            return error("missing", f"There is no note {note_id}.")
        wrong = self.wrong(item["fields"], new=note_id not in self.notes)
        if wrong:
            return wrong
        status = "updated" if note_id in self.notes else "created"
        note_id = note_id or str(next(self._ids))
        self.notes.setdefault(note_id, {}).update(item["fields"])
        self.changed[note_id] = datetime.now(UTC).isoformat(timespec="microseconds")
        return {"id": note_id, "status": status}

    def keyed(self, key: str | None) -> str | None:
        return next((i for i, fields in self.notes.items() if fields.get("syncline_key") == key), None)

    def wrong(self, fields: dict[str, Any], *, new: bool) -> dict[str, Any] | None:
        if not fields.get("title", "" if new else "kept"):
            return error("required", "A note needs a title.", "title")
        for name, value in fields.items():
            if name not in self.fields:
                return error("unknown_field", f"There is no field {name}.", name)
            if isinstance(value, str) and len(value) > self.fields[name].get("longest", 10_000):
                return error("too_long", f"{name} is too long.", name)
            allowed = self.fields[name].get("options")
            chosen = value if isinstance(value, list) else [] if value is None else [value]
            if allowed and not set(chosen) <= set(allowed):
                return error("bad_option", f"{name} must be one of {', '.join(allowed)}.", name)
        return None


def error(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "field": field}}


def limited(items: list[Any]) -> list[Any]:
    if len(items) > BATCH:
        raise Refused(400, f"At most {BATCH} at once.")
    return items


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body
    disable_nagle_algorithm = True
    server: Sandbox

    def handle_any(self) -> None:
        url = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Refused(401, "This token is not known.")
            status, answer = (
                200,
                self.server.store.handle(self.command, url.path, dict(parse_qsl(url.query)), json.loads(raw or "{}")),
            )
        except Refused as refused:
            status, answer = refused.status, {"error": {"message": str(refused)}}
        body = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = handle_any  # noqa: N815 - names given by http.server


class Sandbox(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.store = Store()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


def main() -> None:
    options = argparse.ArgumentParser(description="A local server that behaves like Notes.")
    options.add_argument("--port", type=int, default=0, help="0: any free port")
    server = Sandbox(options.parse_args().port)
    print(json.dumps({"url": server.url, "token": TOKEN}), flush=True)  # noqa: T201 - the ready line of the contract
    server.serve_forever()


if __name__ == "__main__":
    main()
