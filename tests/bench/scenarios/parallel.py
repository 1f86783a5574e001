"""128 parallel calls of four principals over four upstreams on default limits: the event loop and /health meanwhile."""

from __future__ import annotations

import json
import time
import urllib.request

import checker
import machine
from bench import Bench
from gateways import authorized, echo_table
from load import LoadFailed
from outcome import Outcome, Table, Verdict
from target import Target

PRINCIPALS = UPSTREAMS = 4
CONCURRENCY = 128
SECONDS, SHORT_SECONDS = 60.0, 10.0
HEALTH_GAP = 0.05


def run(bench: Bench) -> Outcome:
    """Load it for a minute; ten seconds in short runs."""
    outcome = Outcome("parallel")
    seconds = SECONDS if bench.rounds >= 5 else SHORT_SECONDS
    probe = bench.folder / "loop.json"
    tables = "".join(echo_table(bench.direct, f"echo{number}") for number in range(UPSTREAMS))
    setup = bench.fastest("parallel", tables=tables, bench={"probe": str(probe)}, limits={})
    with bench.closing():
        gateway = bench.toolway(setup, tools=UPSTREAMS)
        targets = [_caller(gateway, number) for number in range(PRINCIPALS)]
        checker.check(targets, CONCURRENCY, seconds=2)
        with machine.alone():
            probe.unlink(missing_ok=True)  # what was before does not count
            running = checker.start(targets, CONCURRENCY, seconds=seconds)
            health = _slowest_health(gateway.url.removesuffix("/mcp") + "/health", seconds)
            seen = checker.finish(running, 2 * seconds)
            blocked = json.loads(probe.read_text(encoding="utf-8"))
    if seen.wrong:
        raise LoadFailed(f"wrong answers: {seen.wrong}")
    rows = {
        "calls/s": seen.rate,
        "p50, ms": seen.p50 / 1e3,
        "p99, ms": seen.p99 / 1e3,
        "slowest, ms": seen.slowest / 1e3,
        "slowest /health, ms": health * 1e3,
        "longest block, ms": blocked["wall"] * 1e3,
        "longest block, CPU ms": blocked["cpu"] * 1e3,
    }
    outcome.tables.append(Table(f"{CONCURRENCY} parallel calls for {seconds:g} s", [["", ""], *_lines(rows)]))
    outcome.figures = dict(rows)
    outcome.verdicts = [
        Verdict("longest block of the event loop", rows["longest block, ms"], "at most", 50, " ms"),
        Verdict("slowest /health", rows["slowest /health, ms"], "at most", 100, " ms"),
    ]
    return outcome


def _caller(gateway: Target, number: int) -> Target:
    return gateway.on(headers=authorized(f"caller-{number}"), tool=f"echo{number % UPSTREAMS}__echo")


def _lines(rows: dict[str, float]) -> list[list[str]]:
    return [[name, f"{value:.1f}"] for name, value in rows.items()]


def _slowest_health(url: str, seconds: float) -> float:
    slowest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        begin = time.perf_counter()
        with urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()
        slowest = max(slowest, time.perf_counter() - begin)
        time.sleep(HEALTH_GAP)
    return slowest
