"""Families as text: OpenMetrics 1.0 and the Prometheus text format 0.0.4, which differ in a few places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from toolway.hookspecs.telemetry import Family
from toolway_prometheus.exemplars import Exemplar, Exemplars
from toolway_prometheus.formats import Format

SLICE = 500
"""Series in one piece of text."""
_LABEL = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP = {
    Format.PLAIN: str.maketrans({"\\": r"\\", "\n": r"\n"}),
    Format.OPENMETRICS: _LABEL,
}

Values = Sequence[float]


def pieces(families: Iterable[Family], form: Format, exemplars: Exemplars) -> Iterator[str]:
    """The page, in pieces that each take a few milliseconds at most."""
    for family in families:
        if family.series:
            yield _head(family, form)
            series = sorted(family.series.items())
            for start in range(0, len(series), SLICE):
                yield "".join(_series(family, form, exemplars, series[start : start + SLICE]))
    if form is Format.OPENMETRICS:
        yield "# EOF\n"


def _head(family: Family, form: Format) -> str:
    """OpenMetrics calls a counter by its name without `_total`."""
    name = family.name
    if form is Format.OPENMETRICS and family.kind == "counter":
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.about.translate(_HELP[form])}\n# TYPE {name} {family.kind}\n"


def _series(
    family: Family, form: Format, exemplars: Exemplars, series: Sequence[tuple[tuple[str, ...], Values]]
) -> Iterator[str]:
    if family.kind != "histogram":
        for labels, values in series:
            yield f"{family.name}{_braced(_pairs(family.labels, labels))} {_number(values[0])}\n"
        return
    bounds = [*map(repr, family.bounds), "+Inf"]
    for labels, values in series:
        seen = exemplars.of(family.name, labels) if form is Format.OPENMETRICS else {}
        yield from _histogram(family.name, _pairs(family.labels, labels), bounds, values, seen)


def _histogram(
    name: str, pairs: str, bounds: Sequence[str], values: Values, exemplars: Mapping[int, Exemplar]
) -> Iterator[str]:
    """Each bucket counts what is within it and all before it; the last value is the sum of what was observed."""
    before = f"{pairs}," if pairs else ""
    counts = list(accumulate(values[:-1]))
    for number, (bound, count) in enumerate(zip(bounds, counts, strict=True)):
        told = _exemplar(exemplars[number]) if number in exemplars else ""
        yield f'{name}_bucket{{{before}le="{bound}"}} {_number(count)}{told}\n'
    yield f"{name}_count{_braced(pairs)} {_number(counts[-1])}\n"
    yield f"{name}_sum{_braced(pairs)} {_number(values[-1])}\n"


def _pairs(names: Sequence[str], labels: Sequence[str]) -> str:
    return ",".join([f'{name}="{label.translate(_LABEL)}"' for name, label in zip(names, labels, strict=True)])


def _braced(pairs: str) -> str:
    return f"{{{pairs}}}" if pairs else ""


def _exemplar(exemplar: Exemplar) -> str:
    return f' # {{trace_id="{exemplar.trace_id.translate(_LABEL)}"}} {exemplar.value!r} {exemplar.at:.3f}'


def _number(value: float) -> str:
    """Whole numbers are written as such, infinities as the formats want them."""
    if value - value != 0:
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    whole = int(value)
    return str(whole) if whole == value else repr(value)
