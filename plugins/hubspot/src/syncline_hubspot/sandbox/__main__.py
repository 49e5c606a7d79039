"""Runs the sandbox as a process of its own: `python -m syncline_hubspot.sandbox --port 0`."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from syncline.contract.testing import sandbox

from .app import create_app
from .config import Config
from .server import OAuthApp, Server


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="syncline_hubspot.sandbox", description="A local HubSpot for trying and testing.")
    sandbox.add_options(parser)
    parser.add_argument("--port-file", type=Path, help="where to write the port once it is open")
    parser.add_argument("--limits", choices=("on", "off"), default="on", help="HubSpot's rate limits")
    parser.add_argument("--index-lag", type=float, default=Config().index_lag_s, help="seconds until search sees a write")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="added to every call")
    parser.add_argument("--client-id", default=OAuthApp().client_id)
    parser.add_argument("--client-secret", default=OAuthApp().client_secret)
    parser.add_argument("--redirect-uri", action="append", default=[], help="may be repeated; none: any loopback address")
    return parser.parse_args()


def _server(given: argparse.Namespace) -> Server:
    config = Config(limits=given.limits == "on", index_lag_s=given.index_lag, latency_ms=given.latency_ms)
    return Server(config, OAuthApp(given.client_id, given.client_secret, tuple(given.redirect_uri)))


def main() -> int:
    given = _arguments()
    server = _server(given)
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)  # records are never part of a cycle; looking for some cost a third of the time
    listener = sandbox.listen(given.port)
    if given.port_file:
        given.port_file.write_text(str(listener.getsockname()[1]))
    told = {"token": server.token, "client_id": given.client_id, "client_secret": given.client_secret}
    sandbox.serve(create_app(server), listener, told, with_parent=given.with_parent)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
