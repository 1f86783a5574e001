"""An OTLP receiver over HTTP and gRPC that keeps what it gets, and can be told to fail or to say nothing."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1 import (
    metrics_service_pb2 as metrics_pb,
    metrics_service_pb2_grpc as metrics_grpc,
)
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb, trace_service_pb2_grpc as trace_grpc

from toolway_testing.ports import free_port


class Receiver:
    """`spans` and `metrics` as they came, newest last; `status` is what HTTP is answered with."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []
        self.metrics: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.go_on = threading.Event()
        self.go_on.set()
        self.http = self.grpc = 0

    def take_spans(self, request: Any) -> Any:
        """One export of spans."""
        for each in request.resource_spans:
            resource = _attributes(each.resource.attributes)
            for scope in each.scope_spans:
                self.spans += [_span(span, resource) for span in scope.spans]
        return trace_pb.ExportTraceServiceResponse()

    def take_metrics(self, request: Any) -> Any:
        """One export of metrics."""
        for each in request.resource_metrics:
            resource = _attributes(each.resource.attributes)
            for scope in each.scope_metrics:
                self.metrics += [_metric(metric, resource) for metric in scope.metrics]
        return metrics_pb.ExportMetricsServiceResponse()

    def tree(self) -> list[str]:
        """The spans of the first trace, indented below their parents, in the order of their beginnings."""
        trace = self.spans[0]["trace"]
        mine = sorted((each for each in self.spans if each["trace"] == trace), key=lambda each: each["start"])
        known = {each["id"] for each in mine}
        lines: list[str] = []

        def add(parent: str, depth: int) -> None:
            for each in mine:
                is_child = each["parent"] == parent or (not depth and not parent and each["parent"] not in known)
                if is_child:
                    lines.append(f"{'  ' * depth}{each['service']}: {each['name']} ({each['kind']})")
                    add(each["id"], depth + 1)

        add("", 0)
        return lines


def _attributes(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes}


def _span(span: Any, resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace": span.trace_id.hex(),
        "id": span.span_id.hex(),
        "parent": span.parent_span_id.hex(),
        "name": span.name,
        "kind": ("?", "internal", "server", "client", "producer", "consumer")[span.kind],
        "start": span.start_time_unix_nano,
        "attributes": _attributes(span.attributes),
        "is_error": span.status.code == 2,
        "status": span.status.message,
        "events": [event.name for event in span.events],
        "links": [link.trace_id.hex() for link in span.links],
        "service": resource.get("service.name"),
        "resource": resource,
    }


def _metric(metric: Any, resource: dict[str, Any]) -> dict[str, Any]:
    kind = metric.WhichOneof("data")
    points = [
        (_attributes(point.attributes), list(point.bucket_counts) if kind == "histogram" else point.as_double)
        for point in getattr(metric, kind).data_points
    ]
    return {"name": metric.name, "kind": kind, "unit": metric.unit, "points": points, "resource": resource}


class _Traces(trace_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the protocol
        return self._receiver.take_spans(request)


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(self, request: Any, context: Any) -> Any:  # noqa: N802 - the name in the protocol
        return self._receiver.take_metrics(request)


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            receiver.go_on.wait(20)
            receiver.headers.append(dict(self.headers.items()))
            if receiver.status == 200:
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                is_trace = self.path.endswith("/v1/traces")
                kind: Any = trace_pb.ExportTraceServiceRequest if is_trace else metrics_pb.ExportMetricsServiceRequest
                (receiver.take_spans if is_trace else receiver.take_metrics)(kind.FromString(body))
            self.send_response(receiver.status)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            """Nothing is logged."""

    return Handler


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Until the context ends, on ports of its own."""
    receiver = Receiver()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver))
    http.daemon_threads = True
    receiver.http, receiver.grpc = http.server_address[1], free_port()
    server = grpc.server(ThreadPoolExecutor(2))
    services: Any = (trace_grpc.add_TraceServiceServicer_to_server, metrics_grpc.add_MetricsServiceServicer_to_server)
    for add, servicer in zip(services, (_Traces(receiver), _Metrics(receiver)), strict=True):
        add(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{receiver.grpc}")
    server.start()
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.go_on.set()
        http.shutdown()
        http.server_close()
        thread.join()
        server.stop(None)
