"""The recorded ratios, and what a run has lost against them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from outcome import Outcome

FILE = Path(__file__).with_name("baseline.json")
LOSS = 0.15
"""The share of a ratio that may be lost before `--check` fails: more than two runs on a shared machine differ by."""

Ratios = dict[str, dict[str, float]]


def ratios(outcomes: Sequence[Outcome]) -> Ratios:
    """The ratios of a run by scenario, larger is better."""
    return {each.scenario: {name: round(ratio, 4) for name, ratio in each.ratios.items()} for each in outcomes}


def record(outcomes: Sequence[Outcome], machine: dict[str, str], file: Path = FILE) -> None:
    """Write the ratios of this run over those of the same scenarios."""
    known = _read(file)
    scenarios = {**known.get("ratios", {}), **{name: each for name, each in ratios(outcomes).items() if each}}
    text = json.dumps({"machine": machine, "ratios": scenarios}, indent=2, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def losses(outcomes: Sequence[Outcome], file: Path = FILE) -> list[str]:
    """A sentence for every ratio that is more than `LOSS` below the recorded one."""
    recorded: Ratios = _read(file).get("ratios", {})
    return [
        f"{scenario}: {name} fell from {before:.3f} to {now:.3f}"
        for scenario, found in ratios(outcomes).items()
        for name, before in recorded.get(scenario, {}).items()
        if (now := found.get(name)) is not None and now < before * (1 - LOSS)
    ]


def _read(file: Path) -> dict[str, dict[str, dict[str, float]]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
