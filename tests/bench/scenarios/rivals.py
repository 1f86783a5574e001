"""`tools/call` through other gateways: FastMCP's proxy, and with `--with` mcp-context-forge and LiteLLM."""

from __future__ import annotations

from contextlib import AbstractContextManager

import measure
import rivals
from bench import Bench
from outcome import Outcome, Verdict
from scenarios.calls import table
from target import Target

JUDGED = 16
GOALS = {"FastMCP shared": 30.0, "FastMCP default": 100.0}


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("rivals")
    with bench.closing() as stack:
        ours = bench.toolway(bench.fastest())
        asked: list[AbstractContextManager[Target]] = []
        asked += [rivals.fastmcp(bench.folder, bench.direct, kind) for kind in ("shared", "default")]
        asked += [rivals.ON_REQUEST[name](bench.folder, bench.direct) for name in sorted(bench.extra)]
        others = [stack.enter_context(each) for each in asked]
        targets = [bench.direct, bench.nginx(), ours, *others]
        measure.verify(targets, calls=100)
        for concurrency in bench.concurrency:
            samples = measure.rounds(targets, concurrency, seconds=bench.seconds, count=bench.rounds)
            outcome.tables.append(table(f"tools/call through other gateways, {concurrency} connections", samples))
            outcome.figures[f"c{concurrency}"] = measure.as_json(samples)
            if concurrency == JUDGED:
                outcome.rates = {each.name: measure.median(samples[each.name]).rate for each in others}
                ratios = {name: measure.ratio(samples, ours.name, name) for name in GOALS}
                outcome.ratios |= {f"toolway / {name}, c={JUDGED}": ratio for name, ratio in ratios.items()}
                outcome.verdicts += [
                    Verdict(f"toolway / {name}, c={JUDGED}", ratios[name], "at least", goal, "x")
                    for name, goal in GOALS.items()
                ]
    return outcome
