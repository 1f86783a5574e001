"""A stdio upstream behind Toolway and behind mcp-proxy, for the same legacy client with a session."""

from __future__ import annotations

import sys

import measure
import rivals
from bench import Bench
from gateways import with_session
from machine import LOAD_CORE, pinned
from measure import Sample
from nginx import TEMPLATES
from outcome import Outcome, Table, Verdict
from programs import Program
from running import stdio_table

CONCURRENCY = 16
GOAL = 2.0


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("stdio")
    server = pinned(LOAD_CORE, sys.executable, TEMPLATES / "stdio_server.py")
    with bench.closing() as stack:
        gateway = bench.toolway(bench.fastest("toolway stdio", tables=stdio_table("echo", Program(tuple(server)))))
        legacy = with_session(gateway).on(name="toolway stdio legacy")
        targets = [legacy, gateway, stack.enter_context(rivals.mcp_proxy(bench.folder, server))]
        measure.verify(targets)
        samples = measure.rounds(targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds, slack=2)
    ratio = measure.ratio(samples, legacy.name, "mcp-proxy")
    lines = [[name, *_figures(measure.median(each))] for name, each in samples.items()]
    headings = ["", "req/s", "p50 µs", "p99 µs", "CPU µs with the server"]
    outcome.tables.append(Table(f"stdio upstream, {CONCURRENCY} connections", [headings, *lines]))
    outcome.figures = dict(measure.as_json(samples))
    outcome.ratios["toolway / mcp-proxy, stdio"] = ratio
    outcome.verdicts.append(Verdict("toolway / mcp-proxy, stdio", ratio, "at least", GOAL, "x"))
    return outcome


def _figures(seen: Sample) -> list[str]:
    return [f"{figure:.0f}" for figure in (seen.rate, seen.p50, seen.p99, seen.cpu)]
