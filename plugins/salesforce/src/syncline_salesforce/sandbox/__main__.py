"""Runs the sandbox as a process of its own: `python -m syncline_salesforce.sandbox --port 0`."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from syncline.contract.testing import sandbox

from .app import create_app
from .oauth import CLIENT, SECRET, USER
from .pubsub import PubSub
from .server import Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="syncline_salesforce.sandbox", description="A local Salesforce for trying and testing.")
    sandbox.add_options(parser)
    given, server = parser.parse_args(), Server()
    told = {
        "token": server.token,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "username": USER,
        "private_key": server.tokens.private_key(),
    }

    @asynccontextmanager
    async def events() -> AsyncIterator[Mapping[str, str]]:
        bus, port = await PubSub(server).started()
        try:
            yield {"pubsub_url": f"127.0.0.1:{port}"}
        finally:
            await bus.stop(0.2)

    listener, longest = sandbox.listen(given.port), 65_536  # bytes of a request's head: a query may be long
    options = {"beside": events, "with_parent": given.with_parent, "h11_max_incomplete_event_size": longest}
    sandbox.serve(create_app(server), listener, told, **options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
