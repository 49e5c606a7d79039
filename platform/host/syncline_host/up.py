"""`make up`: web, worker, stream and the connectors' sandboxes on this machine, stopped together."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from syncline import webserver as web

STOP_WITHIN = 20.0  # seconds; a worker finishes the batch it is at
USER = "admin"


class Stop(Exception):
    """^C or SIGTERM."""


class Processes:
    """What was started here, each in a process group of its own, so that nothing of it is left behind."""

    def __init__(self) -> None:
        self.running: dict[str, subprocess.Popen[str]] = {}

    def start(self, name: str, argv: list[str], **options: Any) -> subprocess.Popen[str]:
        self.running[name] = subprocess.Popen(argv, start_new_session=True, text=True, **options)
        return self.running[name]

    def wait(self) -> str:
        """Gives the name of the first one that ends by itself."""
        while True:
            for name, process in self.running.items():
                if process.poll() is not None:
                    return name
            time.sleep(0.5)

    def stop(self) -> None:
        for process in self.running.values():
            process.terminate()
        until = time.monotonic() + STOP_WITHIN
        for process in self.running.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, until - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> int:
    listener = listen()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    os.environ["SYNCLINE_PUBLIC_URL"] = address
    os.environ["SYNCLINE_ALLOW_LOOPBACK"] = "1"  # the sandboxes are on this machine
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    prepare()
    processes = Processes()
    try:
        with stoppable():
            say(f"\nSyncline      {address}/admin/\nLog-in        {login()}")
            start_web(processes, listener)
            for name in ("worker", "stream"):
                processes.start(name, [sys.executable, "-m", "syncline.cli", name])
            for line in start_sandboxes(processes):
                say(line)
            say("Stop with     ^C\n")
            say(f"The {processes.wait()} ended by itself; its last lines above say why. Stopping the others.")
            return 1
    except Stop:
        say("\nStopping.")
        return 0
    finally:
        processes.stop()
        listener.close()


def say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is a command


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stop


@contextmanager
def stoppable() -> Iterator[None]:
    """Signals stop the whole once; while it is stopping, further ones are ignored."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)


def listen() -> socket.socket:
    """The usual port, or a free one when that is taken; bound here, so nobody can take it in between."""
    for port in (int(os.environ.get("PORT", "8000")), 0):
        found = socket.socket()
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind(("127.0.0.1", port))
        except OSError:
            found.close()
        else:
            found.set_inheritable(True)
            return found
    raise SystemExit("No port on 127.0.0.1 can be opened.")


def prepare() -> None:
    import django
    from django.core.management import call_command

    django.setup()
    from syncline_host import first_steps

    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    first_steps.fill_register()


def login() -> str:
    """The administrator's name and password; the password is made once and kept in the state directory."""
    from django.conf import settings
    from django.contrib.auth.models import User

    from syncline_host.environment import kept

    password = kept(settings.STATE_DIR / "admin_password", lambda: secrets.token_urlsafe(12))
    user = User.objects.filter(username=USER).first()
    if user is None:
        User.objects.create_superuser(USER, f"{USER}@example.com", password)
    elif not user.check_password(password):
        return f"{USER}, with the password that was set later"
    return f"{USER} or {USER}@example.com, password {password}"


def start_web(processes: Processes, listener: socket.socket) -> None:
    processes.start("web", web.argv(f"fd://{listener.fileno()}"), pass_fds=(listener.fileno(),))


def start_sandboxes(processes: Processes) -> Iterator[str]:
    """Starts every connector's sandbox and tells its address and what is needed to connect to it."""
    from syncline import sandboxes
    from syncline.registry import registry

    from syncline_host.first_steps import offer_sandbox

    for key, connector in registry().connectors.items():
        if "sandbox" not in connector.implements:
            continue
        name = f"{key} sandbox"
        started = processes.start(name, sandboxes.command(registry(), key, 0), stdout=subprocess.PIPE)
        first = started.stdout.readline() if started.stdout else ""
        try:
            told: dict[str, str] = json.loads(first)
        except ValueError:
            yield f"{connector.title} sandbox\n              did not start; its messages are above"
        else:
            offer_sandbox(connector, told, USER)
            yield f"{connector.title} sandbox\n" + "\n".join(_told(told))


def _told(told: Mapping[str, str]) -> list[str]:
    """What fits on a line comes first: a private key does not."""
    return [f"  {name:<18} {told[name]}" for name in sorted(told, key=lambda name: "\n" in str(told[name]))]


if __name__ == "__main__":
    sys.exit(main())
