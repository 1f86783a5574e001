"""From `toolway serve` on an existing data directory to the first good answer; memory when idle; `toolway --help`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gateways
import machine
import processes
from bench import Bench
from machine import GATEWAY_CORE, pinned
from measure import MIB, settle
from outcome import Outcome, Table, Verdict

LONGEST_START = 30.0
POLL_SECONDS = 0.01


def run(bench: Bench) -> Outcome:
    """Start it several times."""
    outcome = Outcome("start")
    setup = bench.fastest("started")
    with bench.closing():
        bench.toolway(setup)  # makes the data directory
    _help(bench.folder)
    starts, memories, helps = [], [], []
    for _ in range(bench.rounds):
        with machine.alone():
            seconds, memory = _start(bench, setup)
            starts.append(seconds)
            memories.append(memory / MIB)
            helps.append(_help(bench.folder))
    figures = {"first good answer, s": starts, "idle PSS, MiB": memories, "toolway --help, s": helps}
    lines = [[name, f"{statistics.median(seen):.3f}", f"{max(seen):.3f}"] for name, seen in figures.items()]
    outcome.tables.append(Table("start", [["", "median", "worst"], *lines]))
    outcome.figures = dict(figures)
    outcome.verdicts = [
        Verdict("first good answer", statistics.median(starts), "at most", 1.2, " s"),
        Verdict("idle memory (PSS) of the process", statistics.median(memories) * MIB / 1e6, "at most", 110, " MB"),
        Verdict("toolway --help", statistics.median(helps), "at most", 0.4, " s"),
    ]
    return outcome


def _start(bench: Bench, setup: gateways.Setup) -> tuple[float, int]:
    """Seconds to the first good answer, and bytes of memory when nothing is left to do."""
    begin = time.perf_counter()
    with bench.closing() as stack:
        target = stack.enter_context(gateways.toolway(bench.folder, setup, ready=lambda _: True))
        while b'"structuredContent"' not in gateways.answer_to(target, target.call()):
            if time.perf_counter() - begin > LONGEST_START:
                raise RuntimeError(f"no good answer within {LONGEST_START} s")
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - begin
        settle(target)
        return seconds, processes.proportional(target.pid or 0)


def _help(folder: Path) -> float:
    command = pinned(GATEWAY_CORE, Path(sys.executable).with_name("toolway"), "--help")
    begin = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, env={**os.environ, **gateways.environment(folder)})
    return time.perf_counter() - begin
