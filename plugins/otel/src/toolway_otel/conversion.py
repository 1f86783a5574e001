"""What was kept and counted, as the SDK's data types, which its exporters take."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from time import time_ns
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from toolway.hookspecs.telemetry import Family
from toolway.plugin import hidden
from toolway_otel.settings import OtelSettings
from toolway_otel.trace import Span, Trace

SCOPE = InstrumentationScope("toolway", "0.1.0")
KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
SEPARATOR = "\n\x1f\n"
UNITS = {"seconds": "s", "bytes": "By"}


class _Hashed(Resource):
    """The encoder wants to know for each span which resource it is of, and the SDK writes JSON of it each time."""

    def __hash__(self) -> int:
        return id(self)


def resource(settings: OtelSettings, version: str, instance: str) -> Resource:
    """Who tells; `instance` is where the gateway is, which all its workers have in common."""
    known = {
        "service.name": settings.service_name,
        "service.version": version,
        "service.instance.id": f"{socket.gethostname()}:{instance}",
        "host.name": socket.gethostname(),
    }
    made = Resource.create({**known, **settings.resource})
    return _Hashed(made.attributes, made.schema_url)


class Telling(NamedTuple):
    """Who tells, and what must not be told."""

    resource: Resource
    redact: Callable[..., str]


Kept = tuple[Trace, Span, Telling]
"""A span that is to be sent."""


def readables(kept: Sequence[Kept]) -> Sequence[ReadableSpan]:
    """Spans as the SDK has them, without what must not be told."""
    made = list[ReadableSpan]()
    for _, group in groupby(kept, lambda each: id(each[2])):
        spans = [*group]
        telling = spans[0][2]
        told = redacted({text for _, span, _ in spans for text in _texts(span)}, telling.redact)
        made += [_readable(trace, span, telling.resource, told) for trace, span, _ in spans]
    return made


def redacted(texts: Collection[str], redact: Callable[..., str]) -> Mapping[str, str]:
    """What is told in place of each text. All go through the redactors as one, which is cheaper than one by one."""
    every = [*texts]
    told = redact(SEPARATOR.join(every)).split(SEPARATOR)
    is_apart = not any(SEPARATOR in each for each in every)  # else one more could make up for one that was taken
    if not is_apart or len(told) != len(every):  # a redactor took several for one text: then each by itself
        told = [redact(each) for each in every]
    return dict(zip(every, told, strict=True))


def _texts(span: Span) -> Iterator[str]:
    yield span.name
    yield span.error or ""
    for value in span.attributes.values():
        if isinstance(value, str):
            yield value


def _readable(trace: Trace, span: Span, resource: Resource, told: Mapping[str, str]) -> ReadableSpan:
    identity = int(trace.id, 16)
    is_root = span.id == trace.root
    parent = SpanContext(identity, int(span.parent, 16), is_remote=is_root) if span.parent else None
    link = span.link
    links = [Link(SpanContext(int(link.trace_id, 16), int(link.span_id, 16), is_remote=True))] if link else []
    attributes = {key: told[value] if isinstance(value, str) else value for key, value in span.attributes.items()}
    error = span.error
    status = Status(StatusCode.UNSET) if error is None else Status(StatusCode.ERROR, told[error] or None)
    return ReadableSpan(
        name=told[span.name],
        context=SpanContext(identity, int(span.id, 16), is_remote=False, trace_flags=SAMPLED),
        parent=parent,
        resource=resource,
        attributes={**attributes, "process.pid": os.getpid()} if is_root else attributes,
        links=links,
        events=[Event(name, timestamp=at) for name, at in span.events],
        kind=KINDS[span.kind],
        status=status,
        start_time=span.start,
        end_time=span.end,
        instrumentation_scope=SCOPE,
    )


def metrics_data(families: Sequence[Family], told: Resource, since: int, redact: Callable[..., str]) -> MetricsData:
    """All totals; `since` is when counting began, in nanoseconds since 1970."""
    now = time_ns()
    every = [_metric(each, since, now) for each in hidden(families, redact) if each.series]
    scope = ScopeMetrics(SCOPE, every, "")
    return MetricsData([ResourceMetrics(told, [scope], "")])


def _metric(family: Family, since: int, now: int) -> Metric:
    unit = next((short for word, short in UNITS.items() if f"_{word}" in family.name), "1")
    data: Any
    if family.kind == "histogram":
        points = [_histogram(family, labels, values, since, now) for labels, values in family.series.items()]
        data = Histogram(points, AggregationTemporality.CUMULATIVE)
    else:
        numbers = [
            NumberDataPoint(dict(zip(family.labels, labels, strict=True)), since, now, values[0])
            for labels, values in family.series.items()
        ]
        is_counter = family.kind == "counter"
        data = Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True) if is_counter else Gauge(numbers)
    return Metric(family.name, family.about, unit, data)


def _histogram(
    family: Family, labels: tuple[str, ...], values: Sequence[float], since: int, now: int
) -> HistogramDataPoint:
    counts, total = [int(each) for each in values[:-1]], values[-1]
    unknown: Any = None
    return HistogramDataPoint(
        attributes=dict(zip(family.labels, labels, strict=True)),
        start_time_unix_nano=since,
        time_unix_nano=now,
        count=sum(counts),
        sum=total,
        bucket_counts=counts,
        explicit_bounds=family.bounds,
        min=unknown,
        max=unknown,
    )
