"""Runs the benchmarks of this folder, or those named in ONLY; each prints one JSON line that begins with its name."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from tests.benchmarks.harness import BENCHMARKS, Benchmark, Figures


def main() -> int:
    set_up()
    find()
    known = [name for benchmark in BENCHMARKS for name in benchmark.names]
    wanted = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()] or known
    if unknown := set(wanted) - set(known):
        print(f"There is no benchmark {', '.join(sorted(unknown))}. Known: {', '.join(known) or 'none'}.", file=sys.stderr)
        return 2
    return int(not all([run(benchmark, wanted) for benchmark in BENCHMARKS]))


def set_up() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "syncline_host.settings")
    os.environ["SYNCLINE_ALLOW_LOOPBACK"] = "1"  # the sandboxes are on this machine
    os.environ.setdefault("SYNCLINE_BUDGETS", "off")  # and most have their limits off
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from syncline.background.processes import keep_what_is_loaded

    keep_what_is_loaded()  # as every worker does


def find() -> None:
    for module in sorted(Path(__file__).parent.glob("bench_*.py")):
        importlib.import_module(f"tests.benchmarks.{module.stem}")


def run(benchmark: Benchmark, wanted: Collection[str]) -> bool:
    """False when it failed; the others run all the same."""
    if not set(benchmark.names) & set(wanted):
        return True
    try:
        for name, figures in zip(benchmark.names, results(benchmark), strict=True):
            if name in wanted:
                print(json.dumps({"bench": name, **figures}), flush=True)
    except Exception:  # noqa: BLE001 - shown, and turned into the exit code
        traceback.print_exc()
        return False
    return True


def results(benchmark: Benchmark) -> Iterator[Figures]:
    given: Figures | Iterable[Figures] = benchmark.work()
    if isinstance(given, Mapping):
        yield given
    else:
        yield from given


if __name__ == "__main__":
    sys.exit(main())
