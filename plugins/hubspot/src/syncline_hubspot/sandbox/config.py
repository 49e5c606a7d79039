"""Settings of a running sandbox; the admin API changes them while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(slots=True)
class Config:
    limits: bool = True
    burst: int = 190
    """Calls per rolling ten seconds and private token, without search and associations."""
    oauth_burst: int = 110
    """The same for an OAuth app, which has no allowance by the day."""
    search_per_second: int = 5
    associations_burst: int = 150
    daily: int = 625_000
    latency_ms: float = 0.0
    index_lag_s: float = 3.0
    """How long search does not see what was written."""
    self_touch_s: float = 2.5
    """HubSpot modifies a new record once more by itself after this time; 0 switches it off."""
    shuffle: bool = True
    token_lifetime_s: int = 1800
    import_rows_per_s: float = 2000.0
    """How fast an import is worked through; 0: at once."""
    import_rows: int = 1_048_576
    import_bytes: int = 512 * 1024 * 1024
    imports_daily: int = 500
    associations_page: int = 500
    """Associations of one record that one answer holds, in lists and in batch reads."""
    webhook_timeout_s: float = 5.0
    webhook_batch: int = 100
    """Events of one delivery, 100 at most."""
    webhook_duplicates: float = 0.0
    """Share of the acknowledged deliveries that come once more."""
    webhook_pauses: float = 1.0
    """Factor of the pauses before another attempt."""
    webhook_shuffle: bool = False
    """Events come in any order, and deliveries overtake each other."""

    def change(self, changes: dict[str, Any]) -> None:
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        unknown = sorted(set(changes) - set(known))
        if unknown:
            raise ValueError(f"Unknown sandbox settings {unknown}; known are {sorted(known)}.")
        for name, value in changes.items():
            setattr(self, name, known[name](value))

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
