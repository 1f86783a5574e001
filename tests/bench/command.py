"""The command line of the benchmark: runs scenarios, prints and writes what they found, compares with the baseline."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import baseline
import chart
import machine
import nginx
import page
from bench import Bench
from load import LoadFailed
from outcome import Outcome

SCENARIOS = {
    "calls": "tools/call against nginx and the limit reference",
    "rivals": "tools/call through other gateways",
    "legacy": "clients with sessions, JSON and SSE",
    "stdio": "a stdio upstream against mcp-proxy",
    "large": "results of 100 kB",
    "lists": "tools/list with 1,000 tools",
    "start": "first good answer, idle memory, --help",
    "install": "size and packages of an installation",
    "streams": "10,000 idle streams",
    "silent": "an upstream that never answers",
    "restart": "an upstream that is killed and started again",
    "parallel": "128 parallel calls: event loop and /health",
    "workers": "two workers against one",
    "balancing": "one of three endpoints ten times slower",
    "identity": "decisions and credentials that were seen before",
    "auditing": "calls that are recorded",
    "limits": "calls that rate limits allow",
    "logs": "lines that are written and masked",
    "metrics": "calls that are counted",
    "telemetry": "each plugin of telemetry, and all of them; --record writes the table in the docs",
}
ON_REQUEST = {"profile": "where the time goes (py-spy)"}
EXTRA = ("context-forge", "litellm")
DOCS = Path(__file__).resolve().parents[2] / "docs/explanation"
CHART = "calls.svg"
PAGE = "performance.md"
PICTURES = {CHART: "performance.svg", "profile-uvicorn.svg": "performance-profile.svg"}
SOFTWARE = ("toolway", "hypercorn", "uvicorn", "uvloop", "httptools", "msgspec")


def main() -> int:
    """Run what is asked for; 1 when a scenario could not be measured, or `--check` found a loss."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # what was started is ended
    try:
        machine.check()
    except machine.Unprepared as missing:
        print(missing, file=sys.stderr)
        return 2
    outcomes, failures = _measure(options)
    described = machine.describe([f"{name} {version(name)}" for name in SOFTWARE])
    _write(options.output, outcomes, described)
    if options.record:
        baseline.record(outcomes, described)
        _publish(options.output, outcomes)
    losses = baseline.losses(outcomes) if options.check else []
    for line in (*failures, *losses):
        print(f"FAILED  {line}", file=sys.stderr)
    return 1 if failures or losses else 0


def _measure(options: argparse.Namespace) -> tuple[list[Outcome], list[str]]:
    """What the scenarios found, and which of them could not be measured and why."""
    outcomes: list[Outcome] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="toolway-bench-") as name, nginx.upstream(Path(name)) as direct:
        bench = Bench(
            folder=Path(name),
            output=options.output,
            direct=direct,
            seconds=options.seconds,
            rounds=options.rounds,
            concurrency=options.concurrency,
            extra=frozenset(options.extra),
            plugins=options.plugins,
        )
        for scenario in options.only:
            try:
                outcomes.append(_show(bench, scenario))
            except (LoadFailed, machine.Unprepared, RuntimeError) as error:
                failures.append(f"{scenario}: {error}")
    return outcomes, failures


def _show(bench: Bench, scenario: str) -> Outcome:
    begin = time.monotonic()
    outcome: Outcome = importlib.import_module(f"scenarios.{scenario}").run(bench)
    took, load = time.monotonic() - begin, machine.load_average()
    print(f"\n== {scenario}: {took:.0f} s, load average {load:.1f}")
    for shown in (*outcome.tables, *outcome.notes, *outcome.verdicts):
        print(shown, flush=True)
    return outcome


def _write(folder: Path, outcomes: Sequence[Outcome], described: dict[str, str]) -> None:
    """The figures, and the chart when calls were measured."""
    found = {each.scenario: {**each.as_json(), "load": machine.load_average()} for each in outcomes}
    text = json.dumps({"machine": described, "scenarios": found}, indent=2, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    rates = {name: rate for each in outcomes for name, rate in each.rates.items() if name != "direct"}
    if rates:
        subtitle = f"tools/call, 16 connections, one core of {described['processor'].partition(' x ')[2]}"
        drawn = chart.draw("Calls per second through one process", subtitle, rates)
        (folder / CHART).write_text(drawn, encoding="utf-8")


def _publish(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Bring what was drawn, and tables, into the documentation."""
    for drawn, picture in PICTURES.items():
        if (folder / drawn).exists():
            shutil.copyfile(folder / drawn, DOCS / picture)
    for name, table in (each for outcome in outcomes for each in outcome.published.items()):
        page.put(DOCS / PAGE, name, table)


def _options() -> argparse.Namespace:
    known = {**SCENARIOS, **ON_REQUEST}
    parser = argparse.ArgumentParser(
        prog="tox run -e bench --",
        description="Compares the gateway with nginx, a limit reference and other gateways, side by side.",
        epilog="Scenarios: " + "; ".join(f"{name} ({what})" for name, what in known.items()),
    )
    names, extra = Names(tuple(known)), Names(EXTRA)
    parser.add_argument("--only", type=names, default=tuple(SCENARIOS), metavar="NAME,…", help="some scenarios only")
    parser.add_argument("--with", dest="extra", type=extra, default=(), metavar="NAME,…", help=", ".join(EXTRA))
    parser.add_argument("--plugins", type=Names(), default=(), metavar="NAME,…", help="more for the row with plugins")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="the figures are medians over these")
    parser.add_argument("--concurrency", type=_numbers, default=(1, 16, 64), metavar="N,…")
    parser.add_argument("--output", type=_folder, default=_folder(".bench"), help="folder for figures")
    parser.add_argument("--check", action="store_true", help="fail on a loss of more than 15 %% in a recorded ratio")
    parser.add_argument("--record", action="store_true", help="write the ratios of this run as the baseline")
    return parser.parse_args()


class Names:
    """A list of names with commas; only `known` ones where there are any."""

    def __init__(self, known: tuple[str, ...] = ()) -> None:
        self._known = known

    def __call__(self, text: str) -> tuple[str, ...]:
        names = tuple(text.split(","))
        if self._known and (unknown := set(names) - set(self._known)):
            wrong, known = ", ".join(sorted(unknown)), ", ".join(self._known)
            raise argparse.ArgumentTypeError(f"{wrong} not known; choose of {known}")
        return names


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _folder(text: str) -> Path:
    folder = Path(text).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")
    return folder
