"""How many calls came in, by kind of endpoint: what tests and benchmarks compare with the minimum."""

from __future__ import annotations

from collections import Counter

WRITES = frozenset(
    (
        "batch_create",
        "batch_update",
        "batch_upsert",
        "batch_archive",
        "single_create",
        "single_update",
        "single_archive",
        "merge",
        "gdpr_delete",
        "associations_create",
        "associations_archive",
        "imports_create",
    )
)
"""Calls that change records or associations."""
READS = frozenset(("list", "search", "batch_read", "single_get", "associations_read", "imports_read", "imports_errors"))
"""Calls that read records or associations."""


class Counters:
    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()

    def count(self, kind: str, status: int) -> None:
        """A status of 0 stands for a connection cut instead of an answer."""
        self.kinds[kind] += 1
        self.statuses[status] += 1

    def as_dict(self) -> dict[str, object]:
        kinds = self.kinds
        return {
            **dict(sorted(kinds.items())),
            "write_calls": sum(kinds[kind] for kind in WRITES),
            "read_calls": sum(kinds[kind] for kind in READS),
            "schema_calls": sum(count for kind, count in kinds.items() if kind.startswith(("properties_", "schemas_"))),
            "total_calls": sum(kinds.values()),
            "answers_429": self.statuses[429],
            "answers": {str(status): count for status, count in sorted(self.statuses.items())},
        }
