#!/usr/bin/env python3
"""Reads what the conformance suite left in a directory and says which scenarios passed.

    python score.py DIR REVISION... [--require SCENARIO...]

For each revision it needs `DIR/REVISION.log` (the suite's output) and
`DIR/REVISION/server-<scenario>-<time>/checks.json`, and writes `DIR/REVISION.json`. Exit 0 only if every scored
scenario passed, and every required one on at least one revision and on each that ran it.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Check = dict[str, Any]
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"-\d{4}-\d\d-\d\dT[\d-]+Z$")
_UNSCORED = re.compile(r"^  [✓✗] (\S+) \([\w-]+\)", re.MULTILINE)
_SCENARIO = re.compile(r"^([✓✗]) ([\w/.-]+): \d+ passed, \d+ failed", re.MULTILINE)


@dataclass(frozen=True)
class Revision:
    """The outcome of one run: checks by scenario, and which scenarios do not count."""

    name: str
    checks: dict[str, list[Check]]
    unscored: frozenset[str]

    @property
    def scored(self) -> list[str]:
        return sorted(set(self.checks) - self.unscored)

    def failures(self, scenario: str) -> list[Check]:
        return [check for check in self.checks[scenario] if check.get("status") == "FAILURE"]

    def passed(self, scenario: str) -> bool:
        return scenario in self.checks and not self.failures(scenario)

    def proved(self, scenario: str) -> bool:
        """Whether it passed by a check that was really made: one may skip all of its checks."""
        made = [check for check in self.checks.get(scenario, []) if check.get("status") == "SUCCESS"]
        return bool(made) and self.passed(scenario)


def read_revision(directory: Path, name: str) -> Revision:
    log = _COLOUR.sub("", (directory / f"{name}.log").read_text(errors="replace"))
    body, _, tail = log.partition("Not scored for ")
    checks = {
        _TIME.sub("", folder.name).removeprefix("server-"): _checks(folder)
        for folder in (directory / name).glob("server-*")
    }
    for mark, scenario in _SCENARIO.findall(body):
        if mark == "✗":  # a scenario that crashed leaves no directory
            checks.setdefault(scenario, [{"id": "crashed", "status": "FAILURE"}])
    return Revision(name, checks, frozenset(_UNSCORED.findall(tail)))


def _checks(folder: Path) -> list[Check]:
    try:
        checks: list[Check] = json.loads((folder / "checks.json").read_text())
    except (OSError, ValueError) as error:
        return [{"id": "no-checks", "status": "FAILURE", "errorMessage": str(error)}]
    return checks


def report(revision: Revision, directory: Path) -> None:
    passed = [scenario for scenario in revision.scored if revision.passed(scenario)]
    print(f"[{revision.name}] passed {len(passed)} of {len(revision.scored)} scored scenarios")
    if not revision.checks:
        print((directory / f"{revision.name}.log").read_text(errors="replace")[-800:])
    for scenario in revision.scored:
        for check in revision.failures(scenario):
            print(f"  FAIL {scenario}: {check.get('id')}: {(check.get('errorMessage') or '')[:160]}")
    extras = {scenario: revision.passed(scenario) for scenario in sorted(revision.unscored & set(revision.checks))}
    if extras:
        failing = " ".join(scenario for scenario, good in extras.items() if not good)
        print(
            f"[{revision.name}] not scored: passed {sum(extras.values())} of {len(extras)}; failing: {failing or '-'}"
        )
    outcome = {
        "passed": passed,
        "failed": sorted(set(revision.scored) - set(passed)),
        "unscored": extras,
    }
    (directory / f"{revision.name}.json").write_text(json.dumps(outcome, indent=1))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("revisions", nargs="+")
    parser.add_argument("--require", nargs="*", default=[])
    options = parser.parse_args()
    revisions = [read_revision(options.directory, name) for name in options.revisions]
    for revision in revisions:
        report(revision, options.directory)
    total = sum(len(revision.scored) for revision in revisions)
    failing = [f"{each.name}:{name}" for each in revisions for name in each.scored if not each.passed(name)]
    missing = [name for name in options.require if not _holds(revisions, name)]
    print(f"passed {total - len(failing)} of {total}; failing: {' '.join(failing) or '-'}")
    if options.require:
        print(f"required and failing: {' '.join(missing) or '-'}")
    print(f"results in {options.directory}")
    return 0 if total and not failing and not missing else 1


def _holds(revisions: list[Revision], scenario: str) -> bool:
    """A required scenario must be run and pass on at least one revision, and fail on none."""
    run = [revision for revision in revisions if scenario in revision.checks]
    return any(revision.proved(scenario) for revision in run) and all(revision.passed(scenario) for revision in run)


if __name__ == "__main__":
    sys.exit(main())
