"""The score of a conformance run is only as good as what was really run."""

import json
import subprocess
import sys
from pathlib import Path

SCORE = Path(__file__).with_name("score.py")


def test_a_required_scenario_that_passed_on_one_revision_is_enough(tmp_path: Path) -> None:
    outcome = score(tmp_path, {"old": {"ping": "SUCCESS"}, "new": {"ping": "SUCCESS", "headers": "SUCCESS"}})

    assert "required and failing: -" in outcome.stdout
    assert outcome.returncode == 0


def test_a_required_scenario_that_no_revision_ran_fails(tmp_path: Path) -> None:
    outcome = score(tmp_path, {"old": {"ping": "SUCCESS"}, "new": {"ping": "SUCCESS"}})

    assert "required and failing: headers" in outcome.stdout
    assert outcome.returncode == 1


def test_a_required_scenario_that_made_no_check_fails(tmp_path: Path) -> None:
    outcome = score(tmp_path, {"new": {"ping": "SUCCESS", "headers": "SKIPPED"}})

    assert "required and failing: headers" in outcome.stdout


def test_a_required_scenario_that_failed_on_one_of_two_revisions_fails(tmp_path: Path) -> None:
    outcome = score(tmp_path, {"old": {"headers": "FAILURE"}, "new": {"headers": "SUCCESS"}})

    assert "required and failing: headers" in outcome.stdout


def score(directory: Path, runs: dict[str, dict[str, str]]) -> subprocess.CompletedProcess[str]:
    """Score these runs, `{revision: {scenario: status of its one check}}`, with the scenario `headers` required."""
    for revision, scenarios in runs.items():
        (directory / f"{revision}.log").write_text("Not scored for it\n  ✓ headers (extension)\n")
        for scenario, status in scenarios.items():
            folder = directory / revision / f"server-{scenario}-2026-01-01T00-00-00-000Z"
            folder.mkdir(parents=True)
            (folder / "checks.json").write_text(json.dumps([{"id": scenario, "status": status}]))
    command = [sys.executable, str(SCORE), str(directory), *runs, "--require", "headers"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
