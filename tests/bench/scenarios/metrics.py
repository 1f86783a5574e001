"""What it costs a call to be counted: a gateway with the plugin `prometheus`, which is scraped, and one without."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import measure
from bench import Bench
from outcome import Outcome, Verdict
from scenarios.calls import table
from target import Target

CONCURRENCY = 16
GOAL = 1.15
SCRAPE_SECONDS = 1.0
NAME = "with prometheus"


def run(bench: Bench) -> Outcome:
    """Compare their processor time."""
    outcome = Outcome("metrics")
    with bench.closing():
        plain = bench.fastest("plain")
        tables = f"{plain.tables}\n[plugins.prometheus]\npublic = true\n"
        counted = replace(plain, name=NAME, plugins=(*plain.plugins, "prometheus"), tables=tables)
        targets = [bench.direct, bench.nginx(), bench.toolway(plain), bench.toolway(counted)]
        measure.verify(targets)
        with _scraped(targets[-1]):
            samples = measure.rounds(targets, CONCURRENCY, seconds=bench.seconds, count=bench.rounds)
    ratio = measure.ratio(samples, NAME, "plain", "cpu")
    outcome.tables.append(table(f"metrics, {CONCURRENCY} connections", samples))
    outcome.figures = dict(measure.as_json(samples))
    outcome.ratios["with / without"] = ratio
    outcome.verdicts.append(Verdict("CPU per call, with / without", ratio, "at most", GOAL, "x"))
    return outcome


@contextlib.contextmanager
def _scraped(target: Target) -> Iterator[None]:
    """Once a second, fifteen times as often as usual."""
    is_over = threading.Event()
    url = "http://{}:{}/metrics".format(*target.address)

    def scrape() -> None:
        while not is_over.wait(SCRAPE_SECONDS):
            with urllib.request.urlopen(url, timeout=10) as answer:
                answer.read()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
