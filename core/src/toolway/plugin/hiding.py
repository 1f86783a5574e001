"""Labels without secrets: the address of an endpoint may hold one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import msgspec

from toolway.hookspecs.telemetry import Family


def hidden(families: Sequence[Family], redact: Callable[[str], str]) -> Iterator[Family]:
    """The families, each as soon as it is ready; series whose labels become the same are added up."""
    shown = cache(redact)
    for family in families:
        yield _hidden(family, shown)


def _hidden(family: Family, shown: Callable[[str], str]) -> Family:
    if all(shown(label) == label for labels in family.series for label in labels):
        return family
    series: dict[tuple[str, ...], Sequence[float]] = {}
    for labels, values in family.series.items():
        told = tuple(map(shown, labels))
        before = series.get(told, [0.0] * len(values))
        series[told] = [one + other for one, other in zip(before, values, strict=True)]
    return msgspec.structs.replace(family, series=series)
