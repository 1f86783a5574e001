"""10,000 idle `subscriptions/listen` streams: memory of each, calls meanwhile, and everything back afterwards."""

from __future__ import annotations

import statistics
import time

import holder
import load
import machine
import processes
from bench import Bench
from gateways import authorized
from measure import settle
from outcome import Outcome, Table, Verdict
from target import Target

STREAMS, PER_PRINCIPAL = 10_000, 98
"""The gateway allows 100 streams to one principal and 10,000 to a node; each token is a principal."""

CONCURRENCY = 16
KIB = 1024
CLOSED_SECONDS, SPARE_DESCRIPTORS = 10.0, 40
FILTER = {"notifications": {"toolsListChanged": True}}


def run(bench: Bench) -> Outcome:
    """Open them, hold them, close them."""
    outcome = Outcome("streams")
    with bench.closing(), machine.alone():
        target = bench.toolway(bench.fastest("streaming"))
        normal = _p99(bench, target)
        settle(target)
        pid = target.pid or 0
        memory, files = processes.resident(pid), processes.descriptors(pid)
        begin = time.perf_counter()
        with holder.held(target.url, _requests(target)) as count:
            opening = time.perf_counter() - begin
            settle(target)
            each = (processes.resident(pid) - memory) / max(count, 1) / KIB
            meanwhile = _p99(bench, target)
        back = _seconds_until_closed(pid, files)
    rows = {
        "open": count,
        "opened in, s": opening,
        "KiB each": each,
        "p99 before, µs": normal,
        "p99 meanwhile, µs": meanwhile,
        "descriptors back after, s": back,
    }
    outcome.tables.append(Table("idle streams", [["", ""], *([name, f"{value:.1f}"] for name, value in rows.items())]))
    outcome.figures = dict(rows)
    outcome.verdicts = [
        Verdict("streams open", count, "at least", STREAMS),
        Verdict("memory of a stream", each, "at most", 50, " KiB"),
        Verdict("p99 of calls meanwhile / before", meanwhile / normal, "at most", 3, "x"),
        Verdict("descriptors back after the streams closed", back, "at most", CLOSED_SECONDS, " s"),
    ]
    return outcome


def _requests(target: Target) -> list[bytes]:
    people = [target.on(headers=authorized(f"holder-{number}")) for number in range(STREAMS // PER_PRINCIPAL + 1)]
    askers = (people[number // PER_PRINCIPAL] for number in range(STREAMS))
    return [asker.request("subscriptions/listen", FILTER, number) for number, asker in enumerate(askers)]


def _p99(bench: Bench, target: Target) -> float:
    """Microseconds, the median of some rounds."""
    seen = [load.run(target.url, [target.call()], CONCURRENCY, bench.seconds) for _ in range(bench.rounds)]
    return statistics.median(each.p99 for each in seen)


def _seconds_until_closed(pid: int, files: int) -> float:
    begin = time.perf_counter()
    while processes.descriptors(pid) > files + SPARE_DESCRIPTORS:
        if time.perf_counter() - begin > 2 * CLOSED_SECONDS:
            break
        time.sleep(0.05)
    return time.perf_counter() - begin
