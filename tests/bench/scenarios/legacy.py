"""Legacy clients with sessions against modern ones, on one gateway: answers as JSON, and as SSE with progress."""

from __future__ import annotations

import measure
from bench import Bench
from gateways import echo_table, with_session
from nginx import endpoint
from outcome import Outcome, Verdict
from running import upstream_table
from scenarios.calls import table
from target import Target

CONCURRENCY, SESSIONS = 16, 16
SEALED_ID_BYTES = 64
GOAL = 0.5


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("legacy")
    with bench.closing():
        tables = echo_table(bench.direct) + upstream_table("stream", endpoint(bench.direct, "stream"))
        gateway = bench.toolway(bench.fastest("modern", tables=tables), tools=2)
        streamed = gateway.on(tool="stream__echo", progress=True)
        sessions = {"legacy JSON": _sessions(gateway), "legacy SSE": _sessions(streamed)}
        targets = [bench.direct, bench.nginx(), gateway, streamed.on(name="modern SSE")]
        targets += [each[0].on(name=name) for name, each in sessions.items()]
        measure.verify(targets)
        requests = {name: measure.distinct(each) for name, each in sessions.items()}
        samples = measure.rounds(
            targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds, requests=requests, slack=SEALED_ID_BYTES
        )
    outcome.tables.append(table(f"legacy clients with {SESSIONS} sessions, {CONCURRENCY} connections", samples))
    outcome.figures = dict(measure.as_json(samples))
    for name in sessions:
        outcome.ratios[f"{name} / modern"] = measure.ratio(samples, name, "modern")
        outcome.verdicts.append(Verdict(f"{name} / modern", outcome.ratios[f"{name} / modern"], "at least", GOAL, "x"))
    return outcome


def _sessions(target: Target) -> list[Target]:
    return [with_session(target) for _ in range(SESSIONS)]
