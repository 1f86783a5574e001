"""An MCP server of the SDK, which traces itself: `python traced_server.py FIXTURE OTLP_URL --port N`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

if __name__ == "__main__":
    _, fixture, url, *arguments = sys.argv
    provider = TracerProvider(resource=Resource.create({"service.name": "server"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")))
    trace.set_tracer_provider(provider)
    sys.argv = [fixture, *arguments]
    sys.path.insert(0, str(Path(fixture).parent))
    runpy.run_path(fixture, run_name="__main__")
