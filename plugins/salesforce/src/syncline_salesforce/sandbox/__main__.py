"""Runs the sandbox as a process of its own: `python -m syncline_salesforce.sandbox --port 0`."""

from __future__ import annotations

import argparse

from syncline.contract.testing import sandbox

from .app import create_app
from .oauth import CLIENT, SECRET
from .server import Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="syncline_salesforce.sandbox", description="A local Salesforce for trying and testing.")
    sandbox.add_options(parser)
    given, server = parser.parse_args(), Server()
    told = {"token": server.token, "client_id": CLIENT, "client_secret": SECRET}
    listener, longest = sandbox.listen(given.port), 65_536  # bytes of a request's head: a query may be long
    sandbox.serve(create_app(server), listener, told, with_parent=given.with_parent, h11_max_incomplete_event_size=longest)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
