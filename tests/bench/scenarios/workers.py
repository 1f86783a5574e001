"""Two workers against one, on both cores, which the load shares.

Load and upstream take their part of the same two cores, so two workers cannot answer twice as much here, whatever they
do: the machine has only `2 / (their time per call + that of everything else)` to give. What they could give with two
cores of their own is the rate per second of their processor time, and that is what is judged.

Judged beside the calls are requests for which no upstream on the same cores has to be asked.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gateways
import measure
from bench import Bench
from gateways import Setup, echo_table
from machine import GATEWAY_CORE, LOAD_CORE
from outcome import Outcome, Verdict
from scenarios.calls import table

CONCURRENCY = 64
"""So many that the kernel spreads them evenly over the workers' sockets."""

GOAL = 1.8
RUNNER = "hypercorn"
"""The runner whose own cost is large against that of the load."""


def run(bench: Bench) -> Outcome:
    """Compare."""
    outcome = Outcome("workers")
    if not _is_supported():
        outcome.notes.append("workers: the gateway has no setting gateway.workers yet; nothing is measured")
        return outcome
    cores = f"{LOAD_CORE},{GATEWAY_CORE}"
    with bench.closing() as stack:
        targets = [bench.direct, bench.nginx()]
        for count in (1, 2):
            setup = Setup(f"{count} of {RUNNER}", tables=echo_table(bench.direct), gateway={"workers": count})
            targets.append(stack.enter_context(gateways.toolway(bench.folder, setup, cores)))
            gateways.wait_for_tools(targets[-1])
        measure.verify(targets)
        samples = measure.rounds(targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds)
        requests = {each.name: [each.request("server/discover")] for each in targets}
        busy_samples = measure.rounds(
            targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds, requests=requests, slack=2
        )
    one, two = (measure.median(samples[f"{count} of {RUNNER}"]) for count in (1, 2))
    outcome.tables.append(table(f"workers, {CONCURRENCY} connections", samples))
    outcome.figures = dict(measure.as_json(samples))
    outcome.ratios["2 workers / 1"] = measure.ratio(samples, f"2 of {RUNNER}", f"1 of {RUNNER}")
    busy = two.rate * two.cpu / 1e6
    outcome.notes.append(
        f"two workers answer {two.rate / one.rate:.2f}x of what one does: they had {busy:.2f} of the 2 cores, load and "
        f"upstream the rest"
    )
    outcome.tables.append(table(f"server/discover, {CONCURRENCY} connections", busy_samples))
    each = one.cpu / two.cpu
    outcome.verdicts.append(Verdict("2 workers / 1, each with a core of its own", 2 * each, "at least", GOAL, "x"))
    each = 1 / measure.ratio(busy_samples, f"2 of {RUNNER}", f"1 of {RUNNER}", "cpu")
    outcome.verdicts.append(Verdict("the same without an upstream", 2 * each, "at least", GOAL, "x"))
    return outcome


def _is_supported() -> bool:
    command = [str(Path(sys.executable).with_name("toolway")), "schema"]
    return '"workers"' in subprocess.run(command, capture_output=True, text=True, check=True).stdout
