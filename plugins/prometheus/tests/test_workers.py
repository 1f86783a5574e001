"""Several workers have one page: any of them has the totals of all, and of those that are gone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from watched import Process, process

from toolway_testing.polling import eventually_now
from toolway_testing.prometheus import sample

HEALTH = 'toolway_requests_total{route="/health",verb="GET",status="200"}'
SECONDS = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def both(gate: Process) -> list[int]:
    """The workers, once both of them serve."""
    eventually_now(lambda: sample(gate.page(), "toolway_workers") == 2, SECONDS)
    return gate.workers


@pytest.mark.parametrize("own", [False, True], ids=["on the port of the gateway", "on its own"])
def test_any_worker_has_the_totals_which_outlive_one_that_is_killed(tmp_path: Path, own: bool) -> None:
    with process(tmp_path, workers=2, own=own) as gate:
        victim, other = both(gate)
        for _ in range(20):
            gate.ask()
        eventually_now(lambda: sample(gate.page(), HEALTH) == 20, SECONDS)  # counted once the answer is out
        assert {sample(gate.page(), HEALTH) for _ in range(10)} == {20}

        os.kill(victim, signal.SIGKILL)
        eventually_now(lambda: len(set(gate.workers) - {victim, other}) == 1, SECONDS)
        eventually_now(lambda: sample(gate.page(), "toolway_worker_starts_total") == 3, SECONDS)
        gate.ask()

        eventually_now(lambda: sample(gate.page(), HEALTH) == 21, SECONDS)
        assert {sample(gate.page(), HEALTH) for _ in range(10)} == {21}
        eventually_now(lambda: sample(gate.page(), "toolway_workers") == 2, SECONDS)
