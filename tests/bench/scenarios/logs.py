"""What a line of the log and masking cost, in this process; what calls pay for them is in the scenario `telemetry`."""

from __future__ import annotations

import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import machine
from bench import Bench
from outcome import Outcome, Table, Verdict

from toolway.hookspecs.auth import Principal
from toolway.hookspecs.telemetry import Served
from toolway.redaction import RedactingFormatter, Redaction

LINES = 2_000
LINE_GOAL, MASK_GOAL = 80.0, 25.0
MICROSECONDS = 1e6
SECRETS = frozenset(f"secret-number-{number}" for number in range(10))
SCOPE = MappingProxyType(
    {"method": "POST", "path": "/mcp", "client": ("127.0.0.1", 1), "headers": [], "query_string": b""}
)
Samples = dict[str, list[float]]


def run(bench: Bench) -> Outcome:
    """Measure in this process, as the gateway does it in its own."""
    outcome, lines = Outcome("logs"), Samples()
    for _ in range(bench.rounds):
        with machine.alone():
            for name, seconds in _measured():
                lines.setdefault(name, []).append(seconds * MICROSECONDS)
    rows = [[name, f"{statistics.median(seen):.2f}", f"{max(seen):.2f}"] for name, seen in lines.items()]
    outcome.tables.append(Table("µs each", [["", "median", "worst"], *rows]))
    outcome.figures = dict(lines)
    outcome.verdicts = [
        Verdict("a line of the log, written", statistics.median(lines["a line, written"]), "at most", LINE_GOAL, " µs"),
        Verdict("masking a line", statistics.median(lines["masking, a line"]), "at most", MASK_GOAL, " µs"),
    ]
    return outcome


def _measured() -> Iterator[tuple[str, float]]:
    from toolway_json_logging.handler import QueuedHandler
    from toolway_json_logging.json_lines import JsonLines
    from toolway_masking.masker import Masker

    redact, masker = Redaction(lambda: SECRETS), Masker()
    redact.redactors = (masker,)
    line = json.dumps({"event": "upstream weather: the circuit is open, 12 of 20 calls failed", "item": "x" * 300})
    yield "masking, a line", _each(lambda: masker.redact(line))
    for name, text in (("16 KiB", line * 40), ("1 MiB", line * 2_600)):
        yield f"masking, {name}", _each(lambda text=text: masker.redact(text), 5)  # type: ignore[misc]
    sink = os.open(os.devnull, os.O_WRONLY)
    handler = QueuedHandler(JsonLines(redact), sink, LINES)
    handler.setFormatter(RedactingFormatter(handler.formatter or logging.Formatter(), redact))
    record = logging.LogRecord("toolway.catalog", logging.INFO, "", 1, "upstream %s is down: %s", ("a", "late"), None)
    served = Served(
        SCOPE, [], {}, time.time(), "/mcp", "all", Principal("user:alice"), "tools/call", b"", "up", "tool", 200, 0.001
    )
    served.request_id = "019e1b2c-7a1b-7c3d-9e4f-0123456789ab"
    for name, put in (
        ("a line", lambda: handler.handle(record)),
        ("a line of the access log", lambda: handler.tell([served])),
    ):
        began, noticed = time.process_time(), _each(put, LINES)
        handler.writer.flush(30.0)
        yield f"{name}, put", noticed
        yield f"{name}, written", (time.process_time() - began) / LINES
    handler.close()
    os.close(sink)


def _each(do: Callable[[], Any], count: int = LINES) -> float:
    began = time.perf_counter()
    for _ in range(count):
        do()
    return (time.perf_counter() - began) / count
