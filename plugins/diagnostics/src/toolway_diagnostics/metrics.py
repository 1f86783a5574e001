"""A snapshot of the metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from toolway.hookspecs.telemetry import Family


class MetricSnapshot:
    """See `MetricReader`: reads only when a report is made."""

    name = "diagnostics"

    def __init__(self) -> None:
        self._collect: Callable[[], Sequence[Family]] = tuple

    def attach(self, collect: Callable[[], Sequence[Family]]) -> None:
        """See `MetricReader`."""
        self._collect = collect

    def rows(self) -> list[dict[str, Any]]:
        """One for each series, by name and labels; what never happened is left out."""
        families = sorted(self._collect(), key=lambda each: each.name)
        return [_row(family, labels) for family in families for labels in sorted(family.series)]


def _row(family: Family, labels: tuple[str, ...]) -> dict[str, Any]:
    named = ", ".join(f"{name}={value}" for name, value in zip(family.labels, labels, strict=True))
    values = family.series[labels]
    row: dict[str, Any] = {"name": family.name, "labels": named}
    if family.kind != "histogram":
        return {**row, "value": values[0]}
    *counts, total = values
    bounds = [f"{bound:g}" for bound in family.bounds] + ["more"]
    buckets = {bound: count for bound, count in zip(bounds, counts, strict=True) if count}
    return {**row, "value": sum(counts), "sum": round(total, 6), "up_to": buckets}
