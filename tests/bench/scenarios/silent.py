"""An upstream that accepts and never answers: initialize, lists and calls elsewhere go on as without it."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import checker
import gateways
import machine
from bench import Bench
from gateways import echo_table, with_session
from outcome import Outcome, Table, Verdict
from running import upstream_table
from target import Target

CONCURRENCY = 4
DELAY, CALLS = 0.5, 1.25


def run(bench: Bench) -> Outcome:
    """Compare two gateways that differ by that upstream."""
    outcome = Outcome("silent")
    seen: dict[str, dict[str, list[float]]] = {}
    with bench.closing() as stack:
        silent = upstream_table("silent", f"http://127.0.0.1:{stack.enter_context(_accepting())}/mcp")
        tables = {"without": echo_table(bench.direct), "with": echo_table(bench.direct) + silent}
        targets = {name: bench.toolway(bench.fastest(f"{name} silence", tables=text)) for name, text in tables.items()}
        for _ in range(bench.rounds):
            with machine.alone():
                for name, target in targets.items():
                    for what, seconds in _times(target, bench.seconds).items():
                        seen.setdefault(what, {}).setdefault(name, []).append(seconds)
    medians = {what: {name: statistics.median(times) for name, times in each.items()} for what, each in seen.items()}
    lines = [[what, *(f"{each[name] * 1000:.2f}" for name in tables)] for what, each in medians.items()]
    outcome.tables.append(Table("beside an upstream that never answers, ms", [["", *tables], *lines]))
    outcome.figures = dict(medians)
    for what, each in medians.items():
        delay = max(0.0, each["with"] - each["without"])
        outcome.verdicts.append(Verdict(f"{what}, delayed by", delay, "at most", DELAY, " s"))
    calls = medians["call, median"]
    slower = calls["with"] / calls["without"]
    outcome.verdicts.append(Verdict("calls elsewhere, with / without", slower, "at most", CALLS, "x"))
    return outcome


def _times(target: Target, seconds: float) -> dict[str, float]:
    """Seconds of each kind of request; raises RuntimeError when an answer is wrong."""
    checked = checker.check([target], CONCURRENCY, seconds=seconds)
    if checked.wrong:
        raise RuntimeError(f"{target.name}: {checked.wrong}")
    return {
        "initialize": _timed(lambda: with_session(target)),
        "list": _timed(lambda: gateways.tools(target)),
        "call, median": checked.p50 / 1e6,
        "call, slowest": checked.slowest / 1e6,
    }


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@contextlib.contextmanager
def _accepting() -> Iterator[int]:
    """The port of a listener that takes every connection and says nothing."""
    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    kept.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()
