"""Where telemetry goes, and how much of it; durations are seconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from toolway.plugin import SecretRef, Settings


def _endpoint() -> str:
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")


def _service() -> str:
    return os.environ.get("OTEL_SERVICE_NAME", "toolway")


def _protocol() -> str:
    return "grpc" if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" else "http"


def _ratio() -> str:
    """Of the standard samplers; what the caller decided counts with each of them."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER", "").removeprefix("parentbased_")
    share = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "1")
    return {"always_on": "1", "always_off": "0", "traceidratio": share}.get(sampler, "0.01")


class OtelSettings(Settings):
    """`[plugins.otel]`; the standard variables of OpenTelemetry count where a setting is left out."""

    endpoint: str = Field(
        default_factory=_endpoint,
        pattern=r"^(https?://[^\s]+)?$",
        description="Base URL of an OTLP receiver; default: OTEL_EXPORTER_OTLP_ENDPOINT, else this machine.",
    )
    protocol: Literal["http", "grpc"] = Field(
        default_factory=_protocol,
        validate_default=True,
        description="`grpc` needs `pip install toolway-otel[grpc]`; default: OTEL_EXPORTER_OTLP_PROTOCOL, else `http`.",
    )
    headers: dict[str, SecretRef] = Field({}, description="Headers to send along, as references to secrets.")
    ca: Path | None = Field(None, description="PEM file of the authority to trust instead of the system's.")
    timeout: PositiveFloat = Field(5.0, description="For one export, with its repetitions.")
    service_name: str = Field(default_factory=_service, min_length=1, description="`service.name`.")
    resource: dict[str, str] = Field({}, description="More attributes of the resource.")
    traces: bool = Field(True, description="Whether spans are exported.")
    sample_ratio: float = Field(
        default_factory=_ratio,
        validate_default=True,
        ge=0,
        le=1,
        description="The share of the traces that begin here which is kept; default: OTEL_TRACES_SAMPLER, else 0.01.",
    )
    propagate: Literal["sampled", "always"] = Field(
        "sampled", description="`always` tells upstreams also of traces that begin here and are not sampled."
    )
    keep_errors: bool = Field(True, description="Keep what failed, whatever the ratio.")
    keep_slower: float = Field(5.0, ge=0, description="Keep what takes longer than so many seconds; 0 is nothing.")
    queue: PositiveInt = Field(2048, description="Spans that wait for their export; more are dropped, and counted.")
    metrics: bool = Field(True, description="Whether metrics are exported.")
    metrics_interval: PositiveFloat = Field(30.0, description="Between two exports of metrics.")

    @property
    def base(self) -> str:
        """The base URL, without a slash at its end."""
        default = "http://127.0.0.1:4318" if self.protocol == "http" else "http://127.0.0.1:4317"
        return (self.endpoint or default).rstrip("/")
