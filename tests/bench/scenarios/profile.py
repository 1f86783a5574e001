"""Where the time of a `tools/call` goes: py-spy's samples at 16 connections, scaled to CPU µs per call. No goal."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

import flame
import load
import machine
import processes
from bench import Bench
from gateways import Setup, echo_table
from machine import LOAD_CORE, pinned
from outcome import Outcome, Table
from target import Target

CONCURRENCY = 16
SECONDS = 18
RATE = 200
SHOWN = 60
LONGEST_NAME = 100
LOOP = "Runner.run ("


def run(bench: Bench) -> Outcome:
    """Profile the gateway on each runner."""
    outcome = Outcome("profile")
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        outcome.notes.append("py-spy is not installed: pip install py-spy")
        return outcome
    setups: dict[str, tuple[str, ...]] = {"hypercorn": ()} | ({"uvicorn": bench.runner} if bench.runner else {})
    for runner, plugins in setups.items():
        with bench.closing():
            target = bench.toolway(Setup(f"profiled {runner}", plugins, tables=echo_table(bench.direct)))
            cost, samples = _record(target, spy, bench.output / f"profile-{runner}.txt")
        total = sum(samples.values())
        stacks = {stack: count / total * cost for stack, count in samples.items()}
        title = f"{runner}, of {cost:.0f} µs of CPU time per call"
        (bench.output / f"profile-{runner}.svg").write_text(flame.draw(title, stacks), encoding="utf-8")
        outcome.figures[runner] = {"cpu": cost, "samples": total}
        outcome.tables += _tables(title, stacks)
    return outcome


def _record(target: Target, spy: Path, raw: Path) -> tuple[float, Counter[tuple[str, ...]]]:
    """CPU microseconds per call without the profiler, and how often each stack was seen with it."""
    with machine.alone():
        load.run(target.url, [target.call()], CONCURRENCY, 2)
        before = processes.cpu_seconds(target.pid or 0)
        seen = load.run(target.url, [target.call()], CONCURRENCY, 4)
        cost = (processes.cpu_seconds(target.pid or 0) - before) / seen.count * 1e6
        options = ["--rate", str(RATE), "--duration", str(SECONDS - 3), "--format", "raw", "--output", str(raw)]
        command = pinned(LOAD_CORE, spy, "record", *options, "--pid", str(target.pid))
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as recording:
            load.run(target.url, [target.call()], CONCURRENCY, SECONDS)
            recording.wait(60)
    return cost, _stacks(raw.read_text(encoding="utf-8"))


def _stacks(text: str) -> Counter[tuple[str, ...]]:
    """How often each stack of the event loop was seen; threads that wait for work look busy to the profiler."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        loop = next((number for number, frame in enumerate(frames) if frame.startswith(LOOP)), None)
        if loop is not None:
            stacks[tuple(map(_function, frames[loop:]))] += int(count)
    return stacks


def _tables(title: str, stacks: Mapping[tuple[str, ...], float]) -> list[Table]:
    """Own time by part, own time by function, and time with what it calls."""
    own: dict[str, float] = defaultdict(float)
    within: dict[str, float] = defaultdict(float)
    for stack, cost in stacks.items():
        own[stack[-1]] += cost
        for name in set(stack):
            within[name] += cost
    kinds = {"own time by part": _by_part(own), "own time": own, "with what it calls": within}
    return [_table(f"{what}, {title}", costs) for what, costs in kinds.items()]


def _by_part(own: Mapping[str, float]) -> dict[str, float]:
    """Own time by package; Toolway's own packages apart."""
    parts: dict[str, float] = defaultdict(float)
    for name, cost in own.items():
        folders = name.partition("  ")[0].split("/")
        parts["/".join(folders[: 2 if folders[0] == "toolway" else 1])] += cost
    return parts


def _function(frame: str) -> str:
    """`name (path)` without the line."""
    name, _, place = frame.rpartition(" (")
    path = place.rpartition(":")[0] or place.rstrip(")")
    for folder in ("site-packages/", "core/src/", "python3.11/"):
        path = path.rpartition(folder)[2]
    return f"{path}  {name}"[:LONGEST_NAME]


def _table(title: str, costs: Mapping[str, float]) -> Table:
    first = sorted(costs.items(), key=lambda each: -each[1])[:SHOWN]
    return Table(title, [["", "µs"], *([name, f"{cost:.1f}"] for name, cost in first)])
