"""The benchmark: `tox run -e bench`, with `-- --only calls,legacy` for a part of it."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "servers")]

SCENARIOS = (
    "calls",
    "rivals",
    "legacy",
    "stdio",
    "large",
    "lists",
    "start",
    "install",
    "streams",
    "silent",
    "restart",
    "parallel",
    "workers",
    "profile",
)


def main() -> int:
    """Run what is asked for; 1 when an answer was wrong or `--check` found a loss."""
    options = _options()
    import machine
    import nginx
    from bench import Bench

    try:
        machine.check()
    except machine.Unprepared as missing:
        print(missing, file=sys.stderr)
        return 2
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="toolway-bench-") as name, nginx.upstream(Path(name)) as direct:
        bench = Bench(Path(name), options.output, direct, options.seconds, options.rounds, options.concurrency)
        results: dict[str, Any] = {}
        for each in options.only:
            outcome = importlib.import_module(f"scenarios.{each}").run(bench)
            for shown in (*outcome.tables, *outcome.notes, *outcome.verdicts):
                print(shown, flush=True)
            results[each] = {"figures": outcome.figures, "ratios": outcome.ratios}
        (options.output / "results.json").write_text(json.dumps(results, indent=1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tox run -e bench --", description=__doc__)
    parser.add_argument("--only", type=_names, default=SCENARIOS, metavar="NAME,…", help=", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5, help="the figures are medians over these")
    parser.add_argument("--concurrency", type=_numbers, default=(1, 16, 64), metavar="N,…")
    parser.add_argument("--output", type=Path, default=Path("bench"), help="folder for figures and charts")
    return parser.parse_args()


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


if __name__ == "__main__":
    sys.exit(main())
