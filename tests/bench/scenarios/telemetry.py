"""What a call costs with each plugin of telemetry and secrets, and with all of them, beside a plain gateway."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from typing import Any

import measure
from bench import Bench
from outcome import Outcome, Table, Verdict
from scenarios.calls import table

CONCURRENCY = 16
GOAL = 1.3
PLUGINS = ("prometheus", "otel", "json-logging", "masking", "audit")
ALL = "all of them"


def run(bench: Bench) -> Outcome:
    """Compare their processor time; traces are sampled at 1 %, and received by something that only says thanks."""
    outcome = Outcome("telemetry")
    installed = {each.name for each in entry_points(group="toolway.plugins")}
    names = [name for name in PLUGINS if name in installed]
    with _receiving() as url, bench.closing():
        plain = bench.fastest("plain")
        tables = f'{plain.tables}\n[plugins.otel]\nendpoint = "{url}"\nsample_ratio = 0.01\n' if "otel" in names else ""
        every = [(f"with {name}", (name,)) for name in names] + [(ALL, tuple(names))]
        gateways = [
            replace(
                plain,
                name=title,
                plugins=(*plain.plugins, *plugins),
                tables=tables if "otel" in plugins else plain.tables,
            )
            for title, plugins in every
        ]
        targets = [bench.direct, bench.nginx(), bench.toolway(plain), *(bench.toolway(each) for each in gateways)]
        measure.verify(targets)
        samples = measure.rounds(targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds)
    outcome.tables.append(table(f"telemetry, {CONCURRENCY} connections", samples))
    ratios = {title: measure.ratio(samples, title, "plain", "cpu") for title, _ in every}
    outcome.tables.append(costs := _costs(samples, ratios))
    outcome.published["telemetry"] = costs
    outcome.figures = dict(measure.as_json(samples))
    outcome.ratios.update({f"plain / {title}, CPU": 1 / each for title, each in ratios.items()})
    outcome.verdicts.append(Verdict("CPU per call, with all / plain", ratios[ALL], "at most", GOAL, "x"))
    return outcome


def _costs(samples: dict[str, list[measure.Sample]], ratios: dict[str, float]) -> Table:
    """The time of the plain gateway's process, and what each plugin adds to it."""
    plain = measure.median(samples["plain"]).cpu
    lines = [
        [title, f"{plain * each:.0f}", f"{plain * (each - 1):+.0f}", f"{each:.2f}"] for title, each in ratios.items()
    ]
    return Table("CPU per call", [["", "CPU µs", "more", "x plain"], ["plain", f"{plain:.0f}", "", "1.00"], *lines])


class _Thanks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Nothing is logged."""


@contextlib.contextmanager
def _receiving() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Thanks)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
