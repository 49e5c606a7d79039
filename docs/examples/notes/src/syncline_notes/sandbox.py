"""A local server that behaves like Notes: `python -m syncline_notes.sandbox --port 0`."""

from __future__ import annotations

import argparse
import copy
import hmac
import itertools
import json
import threading
from collections.abc import Sequence
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
        self.merged: dict[str, str] = {}
        self.lock = threading.Lock()
        self.jobs: dict[str, dict[str, Any]] = {}
        self.journal: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
        self._ids = itertools.count(1001)

    def handle(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("GET", "/account"): lambda: {"id": "acc-1", "name": "Sandbox"},
            ("GET", "/fields"): lambda: {"fields": list(self.fields.values())},
            ("POST", "/fields"): lambda: self.add_field(body),
            ("GET", "/notes"): lambda: self.listed(query),
            ("POST", "/notes/read"): lambda: {"notes": self.read(limited(body["ids"]), body["history"])},
            ("POST", "/notes/search"): lambda: {"notes": self.found(body["field"], limited(body["values"]))},
            ("POST", "/notes/batch"): lambda: self.batch(body["op"], limited(body["items"])),
            ("POST", "/notes/merge"): lambda: self.merge(body["into"], body["from"]),
            ("POST", "/jobs"): lambda: self.add_job(body["name"], body["items"]),
            ("GET", "/jobs"): lambda: {"jobs": [job for job in self.jobs.values() if job["name"] == query["name"]]},
            **{("GET", f"/jobs/{number}"): partial(self.look, number) for number in self.jobs},
            ("POST", "/notes/touch"): lambda: self.touch(body["ids"]),
            ("GET", "/journal/volumes"): lambda: {"volumes": list(self.journal)},
            ("POST", "/journal"): lambda: {"written": [self.enter(entry) for entry in limited(body["entries"])]},
            ("GET", "/journal"): lambda: self.entries(query["volume"], int(query["after"])),
        }
        if (method, path) not in known:
            raise Refused(404, f"There is no {method} {path}.")
        with self.lock:
            return copy.deepcopy(known[method, path]())

    def touch(self, ids: Sequence[str]) -> dict[str, Any]:
        """Somebody changes all of these at one moment."""
        at = now()
        for number in ids:
            self.notes[number]["changed"] = at
        return {"changed": at}

    def enter(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Entries of one key are in one volume."""
        volume = "ab"[sum((entry["key"] or "").encode()) % 2]
        place = f"{volume}{len(self.journal[volume])}"
        self.journal[volume].append({**entry, "place": place})
        return {"ref": entry["ref"], "place": place}

    def entries(self, volume: str, after: int) -> dict[str, Any]:
        found, there = self.journal[volume][after : after + 3], len(self.journal[volume])
        return {"entries": found, "after": after + len(found), "behind": there - after - len(found)}

    def add_field(self, field: dict[str, Any]) -> dict[str, Any]:
        if field["name"] in self.fields:
            raise Refused(409, f"There is a field {field['name']} already.")
        self.fields[field["name"]] = field
        return field

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        """By id, and each page from an id on: a note that comes, changes or goes meanwhile moves no other note."""
        first, last, limit = query.get("since", ""), query.get("until") or "z", int(query.get("limit", "3"))
        wanted = [
            n for n in self.notes.values() if n["archived"] == bool(query.get("archived")) and first <= n["changed"] <= last
        ]
        rest = [n for n in wanted if int(n["id"]) > int(query.get("after") or 0)]
        shown = [self.shown(n, query.get("history", "").split(",")) for n in rest[:limit]]
        return {"notes": shown, "next": shown[-1]["id"] if len(rest) > limit else None}

    def read(self, ids: list[str], history: Sequence[str] = ()) -> list[dict[str, Any]]:
        """An id that was merged into another note gives that note."""
        found = [(asked, self.notes.get(self.merged.get(asked, asked))) for asked in ids]
        return [{"asked": asked, **self.shown(note, history)} for asked, note in found if note and not note["archived"]]

    def shown(self, note: dict[str, Any], history: Sequence[str] = ()) -> dict[str, Any]:
        return {**note, "past": {name: past for name, past in note["past"].items() if name in history}}

    def found(self, field: str, values: list[str]) -> list[dict[str, Any]]:
        """Ignores case, as most searches do."""
        wanted = {value.casefold() for value in values}
        live = [note for note in self.notes.values() if not note["archived"]]
        return [self.shown(note) for note in live if str(note["fields"].get(field)).casefold() in wanted]

    def merge(self, into: str, gone: str) -> dict[str, Any]:
        del self.notes[gone]
        self.merged[gone] = into
        self.notes[into]["merged"].append(gone)
        self.notes[into]["changed"] = now()
        return self.shown(self.notes[into])

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
        note = self.keyed(item["fields"].get("syncline_key")) if op == "upsert" else self.notes.get(item["id"] or "")
        if op not in {"create", "upsert"} and (note is None or note["archived"]):
            return error("missing", f"There is no note {item['id']}.")
        if note and op in {"archive", "delete"}:
            return self.take_away(op, note)
        wrong = self.wrong(item["fields"], new=note is None)
        if wrong:
            return wrong
        status = "updated" if note else "created"
        self.change(note := note or self.new(), item)
        return {"id": note["id"], "status": status}

    def new(self) -> dict[str, Any]:
        number = str(next(self._ids))
        self.notes[number] = {"id": number, "archived": False, "fields": {}, "links": [], "past": {}, "merged": []}
        return self.notes[number]

    def change(self, note: dict[str, Any], item: dict[str, Any]) -> None:
        note["changed"] = now()
        note["fields"].update(item["fields"])
        for name, value in item["fields"].items():
            note["past"].setdefault(name, []).insert(0, {"value": value, "at": note["changed"]})
        gone = {link["to"] for link in item.get("links", ())}
        added = [link["to"] for link in item.get("links", ()) if not link["remove"]]
        note["links"] = [link for link in note["links"] if link not in gone] + added

    def take_away(self, op: str, note: dict[str, Any]) -> dict[str, Any]:
        note |= {"archived": True, "changed": now()}
        if op == "delete":
            del self.notes[note["id"]]
        return {"id": note["id"], "status": "updated"}

    def keyed(self, key: str | None) -> dict[str, Any] | None:
        live = [note for note in self.notes.values() if not note["archived"]]
        return next((note for note in live if note["fields"].get("syncline_key") == key), None)

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


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def error(code: str, message: str, field: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "field": field}}


def limited(items: list[Any]) -> list[Any]:
    if len(items) > BATCH:
        raise Refused(400, f"At most {BATCH} at once.")
    return items


def sign(secret: str, at: int, method: str, url: str, body: bytes) -> str:
    """The header `X-Notes-Signature` of a delivery that Notes makes at that second."""
    told = b"\n".join([str(at).encode(), method.encode(), url.encode(), body])
    return f"t={at},v1={hmac.digest(secret.encode(), told, 'sha256').hex()}"


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
