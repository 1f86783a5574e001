"""Results of 100 kB: bytes per second against nginx, and what the limit reference reaches."""

from __future__ import annotations

import measure
from bench import Bench
from nginx import endpoint
from outcome import Outcome, Verdict
from running import upstream_table
from scenarios.calls import table

CONCURRENCY = 16
GOAL = 0.5
VARIANT = "big"


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("large")
    with bench.closing():
        tables = upstream_table(VARIANT, endpoint(bench.direct, VARIANT))
        gateway = bench.toolway(bench.fastest(tables=tables)).on(tool=f"{VARIANT}__echo")
        plain = [each.on(url=endpoint(each, VARIANT)) for each in (bench.direct, bench.nginx())]
        targets = [*plain, gateway, bench.reference("uvicorn", variant=VARIANT)]
        measure.verify(targets)
        samples = measure.rounds(targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds)
    ratio = measure.ratio(samples, gateway.name, "nginx", "throughput")
    outcome.tables.append(table(f"results of 100 kB, {CONCURRENCY} connections", samples))
    outcome.figures = dict(measure.as_json(samples))
    outcome.ratios["toolway / nginx, bytes/s of 100 kB results"] = ratio
    outcome.verdicts.append(Verdict("toolway / nginx, bytes/s of 100 kB results", ratio, "at least", GOAL, "x"))
    return outcome
