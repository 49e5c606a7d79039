"""How a benchmark makes itself known: `@bench("name")` over a function that gives its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]
Work = Callable[[], "Figures | Iterable[Figures]"]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`names`: what it measures, in order. Several come from one function when one needs what another has done."""

    names: tuple[str, ...]
    work: Work


BENCHMARKS: list[Benchmark] = []


def bench(*names: str) -> Callable[[Work], Work]:
    """With one name the function returns its figures; with several it yields one mapping for each, in their order."""

    def known(work: Work) -> Work:
        BENCHMARKS.append(Benchmark(names, work))
        return work

    return known
