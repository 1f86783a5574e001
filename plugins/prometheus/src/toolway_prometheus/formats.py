"""Which of the two text formats a client wants (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

_QUALITY = re.compile(r";\s*q=([0-9.]{1,5})\s*(?:;|$)", re.IGNORECASE)


class Format(StrEnum):
    """Media types, with their versions."""

    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def wanted(accept: str) -> Format:
    """OpenMetrics for whoever names it and likes nothing better, else the older format, which everybody reads."""
    liked = dict(_ranges(accept))
    openmetrics = liked.get("application/openmetrics-text", 0.0)
    return Format.OPENMETRICS if openmetrics > 0 and openmetrics >= liked.get("text/plain", 0.0) else Format.PLAIN


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Media types and how much they are liked; the best of a type that is named several times comes last."""
    found = [(each.partition(";")[0].strip().lower(), _quality(each)) for each in accept.split(",")]
    yield from sorted(found, key=lambda each: each[1])


def _quality(media_range: str) -> float:
    match = _QUALITY.search(media_range)
    try:
        return float(match[1]) if match else 1.0
    except ValueError:
        return 0.0
