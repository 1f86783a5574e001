"""The official conformance suite against a virtual server of the gateway, in front of fixtures of each era."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import programs
import pytest
import running

pytestmark = pytest.mark.timeout(900)

REQUIRED = (
    "http-header-validation",
    "http-custom-header-server-validation",
    "server-session-lifecycle",
    "json-schema-2020-12",
    "server-sse-polling",
)
WIRE_INDEPENDENT = {
    "caching",
    "completion-complete",
    "dns-rebinding-protection",
    "prompts-get-embedded-resource",
    "prompts-get-simple",
    "prompts-get-with-args",
    "prompts-get-with-image",
    "prompts-list",
    "resources-list",
    "resources-read-binary",
    "resources-read-text",
    "resources-templates-read",
    "sep-2164-resource-not-found",
    "server-sse-multiple-streams",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-error",
    "tools-call-image",
    "tools-call-mixed-content",
    "tools-call-simple-text",
    "tools-call-with-progress",
    "tools-list",
}
"""Scenarios of 2026-07-28 that need nothing from the upstream that only the modern wire has."""


def test_a_dual_upstream_passes_every_scenario_of_both_revisions(
    tmp_path: Path,
) -> None:
    with _gateway_before("dual", tmp_path) as url:
        outcome = _suite(url, "both", tmp_path, require=REQUIRED)

    assert "passed 67 of 67; failing: -" in outcome.output
    assert outcome.code == 0, outcome.output


def test_a_legacy_upstream_passes_every_legacy_scenario(tmp_path: Path) -> None:
    with _gateway_before("legacy", tmp_path) as url:
        outcome = _suite(url, "2025-11-25", tmp_path)

    assert "passed 30 of 30; failing: -" in outcome.output


def test_a_modern_client_of_a_legacy_upstream_has_all_that_both_wires_can_say(
    tmp_path: Path,
) -> None:
    with _gateway_before("legacy", tmp_path) as url:
        outcome = _suite(url, "2026-07-28", tmp_path)

    assert set(outcome.passed("2026-07-28")) >= WIRE_INDEPENDENT, outcome.output


def test_a_modern_upstream_passes_every_modern_scenario(tmp_path: Path) -> None:
    with _gateway_before("modern", tmp_path) as url:
        outcome = _suite(url, "2026-07-28", tmp_path)

    assert "passed 37 of 37; failing: -" in outcome.output


class Outcome:
    """What the suite printed, its exit code, and the scenarios that passed."""

    def __init__(self, code: int, output: str, results: Path) -> None:
        self.code = code
        self.output = output
        self._results = results

    def passed(self, revision: str) -> list[str]:
        results: dict[str, Any] = json.loads((self._results / f"{revision}.json").read_text())
        return list(results["passed"])


@contextmanager
def _gateway_before(era: str, directory: Path) -> Iterator[str]:
    """The URL of the server `conformance` in front of a fixture of that era."""
    with running.everything(directory, "--era", era) as upstream:
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo")
            yield gate.endpoint


def _suite(url: str, revisions: str, directory: Path, require: tuple[str, ...] = ()) -> Outcome:
    script = programs.need("conformance").command
    results = directory / "conformance"
    environment = {**os.environ, "OUT": str(results), "REQUIRE": " ".join(require)}
    done = subprocess.run(
        [*script, url, revisions],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if done.returncode > 1:
        pytest.fail(f"the suite did not run: {done.stdout}{done.stderr}")
    return Outcome(done.returncode, done.stdout, results)
