"""What a line says of the request that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from toolway.hookspecs.telemetry import Served

NAMES = ("request_id", "trace_id", "span_id", "server", "upstream", "item")


def request_fields(served: Served | None) -> Mapping[str, str]:
    """Ids, principal, server, upstream and item, as far as they are known."""
    if served is None:
        return {}
    found = {name: value for name in NAMES if (value := getattr(served, name))}
    if served.principal is not None:
        found["principal"] = served.principal.id
    return found


def timestamp(seconds: float) -> str:
    """A time in UTC (RFC 3339), with microseconds."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}Z"


@lru_cache(16)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
