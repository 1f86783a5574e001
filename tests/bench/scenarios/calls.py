"""`tools/call` of modern clients: direct, nginx, the limit reference and Toolway, at several concurrencies."""

from __future__ import annotations

from collections.abc import Sequence

import measure
from bench import Bench
from gateways import Setup, echo_table
from measure import Sample
from outcome import Outcome, Table, Verdict
from target import Target

MIDDLEWARES = 5
CHARTED = 16
OF_REFERENCE = 0.79
"""What 0.31 of direct is of the limit reference, on the machine where that reaches 0.39 of direct.

The shares of direct and of nginx depend on how fast a processor is with an interpreter, compared with compiled code;
this one does not.
"""

HEADINGS = ["", "req/s", "x direct", "x nginx", "p50 µs", "p99 µs", "CPU µs", "RSS MiB", "PSS MiB"]


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("calls")
    with bench.closing():
        targets = _targets(bench)
        measure.verify(targets)
        outcome.notes = [f"{target.name}: {target.note}" for target in targets if target.note]
        for concurrency in bench.concurrency:
            samples = measure.rounds(targets, concurrency, seconds=bench.seconds, count=bench.rounds)
            outcome.tables.append(table(f"tools/call, {concurrency} connections", samples))
            outcome.figures[f"c{concurrency}"] = measure.as_json(samples)
            if concurrency == CHARTED:
                outcome.rates = {name: measure.median(seen).rate for name, seen in samples.items()}
            _judge(outcome, samples, concurrency)
    return outcome


def table(title: str, samples: dict[str, list[Sample]]) -> Table:
    """One line per target."""
    return Table(title, [HEADINGS, *(_line(samples, name) for name in samples)])


def _targets(bench: Bench) -> Sequence[Target]:
    upstream = echo_table(bench.direct)
    targets = [bench.direct, bench.nginx(), bench.reference("uvicorn"), bench.reference("hypercorn")]
    targets.append(bench.toolway(Setup("toolway hypercorn", tables=upstream)))
    if bench.runner:
        more = {"tables": upstream, "plugins": bench.runner}
        targets.append(bench.toolway(Setup("toolway fast", **more)))  # type: ignore[arg-type]
    name = "toolway fast" if bench.runner else "toolway hypercorn"
    plugins = (*bench.runner, *bench.plugins)
    targets.append(bench.toolway(Setup(f"{name} + plugins", plugins, MIDDLEWARES, upstream)))
    return targets


def _line(samples: dict[str, list[Sample]], name: str) -> list[str]:
    seen = measure.median(samples[name])
    ratios = (f"{measure.ratio(samples, name, other):.3f}" for other in ("direct", "nginx"))
    return [
        name,
        f"{seen.rate:.0f}",
        *ratios,
        *(f"{figure:.0f}" for figure in (seen.p50, seen.p99)),
        f"{seen.cpu:.1f}",
        *(f"{figure:.0f}" for figure in (seen.rss, seen.pss)),
    ]


def _judge(outcome: Outcome, samples: dict[str, list[Sample]], concurrency: int) -> None:
    for name in samples:
        if name != "direct":
            outcome.ratios[f"{name} / direct, c={concurrency}"] = measure.ratio(samples, name, "direct")
    if "toolway fast" in samples:
        outcome.verdicts += _fast(samples, concurrency)
    if concurrency > 1:
        of_direct = measure.ratio(samples, "toolway hypercorn", "direct")
        outcome.verdicts.append(Verdict(f"hypercorn / direct, c={concurrency}", of_direct, "at least", 0.07, "x"))


def _fast(samples: dict[str, list[Sample]], concurrency: int) -> list[Verdict]:
    def against(other: str, figure: str = "rate") -> float:
        return measure.ratio(samples, "toolway fast", other, figure)

    if concurrency == 1:
        added = (measure.median(samples["toolway fast"]).p50 - measure.median(samples["direct"]).p50) / 1000
        return [Verdict("p50 added, c=1", added, "at most", 0.22, " ms")]
    place, reference = f"c={concurrency}", "reference uvicorn"
    return [
        Verdict(f"fast / limit reference, {place}", against(reference), "at least", OF_REFERENCE, "x"),
        Verdict(f"fast / direct, {place}", against("direct"), "at least", 0.31, "x"),
        Verdict(f"fast / nginx, {place}", against("nginx"), "at least", 0.33, "x"),
        Verdict(f"CPU per call / limit reference, {place}", against(reference, "cpu"), "at most", 1.25, "x"),
        Verdict(f"p99 / limit reference, {place}", against(reference, "p99"), "at most", 2.0, "x"),
    ]
