"""The exporters of the SDK, by protocol."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import requests

from toolway.plugin import ConfigError
from toolway_otel.settings import OtelSettings
from toolway_otel.shipping import Exporter


def exporters(settings: OtelSettings, headers: Mapping[str, str]) -> tuple[Exporter | None, Exporter | None]:
    """For spans and for metrics, where they are wanted; raises ConfigError."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # each failure; we tell of them together
    make = _over_http if settings.protocol == "http" else _over_grpc
    spans, metrics = make(settings, dict(headers))
    return spans if settings.traces else None, metrics if settings.metrics else None


def _over_http(settings: OtelSettings, headers: dict[str, str]) -> tuple[Any, Any]:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    session = requests.Session()
    session.trust_env, session.max_redirects = False, 0
    common: dict[str, Any] = {
        "headers": headers,
        "timeout": settings.timeout,
        "session": session,
        "certificate_file": str(settings.ca) if settings.ca else None,
    }
    return (
        OTLPSpanExporter(endpoint=f"{settings.base}/v1/traces", **common),
        OTLPMetricExporter(endpoint=f"{settings.base}/v1/metrics", **common),
    )


def _over_grpc(settings: OtelSettings, headers: dict[str, str]) -> tuple[Any, Any]:
    with _explained():
        import grpc  # type: ignore[import-untyped]
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    is_plain = settings.base.startswith("http://")
    credentials = None
    if not is_plain:
        credentials = grpc.ssl_channel_credentials(settings.ca.read_bytes() if settings.ca else None)
    common: dict[str, Any] = {
        "endpoint": settings.base.partition("://")[2],
        "insecure": is_plain,
        "credentials": credentials,
        "headers": {name.lower(): value for name, value in headers.items()},
        "timeout": settings.timeout,
    }
    return OTLPSpanExporter(**common), OTLPMetricExporter(**common)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            'plugins.otel.protocol is "grpc", which is not installed; run pip install toolway-otel[grpc] or use "http"'
        ) from error
