"""Several endpoints behind one upstream, whose transports and eras differ."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import running
import wire

TOOL = "test_simple_text"
TEXT = "This is a simple text response for testing."


@pytest.fixture
def replicas(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The configuration of a gateway whose upstream has one replica per list of arguments."""
    with ExitStack() as stack:
        urls = [stack.enter_context(running.everything(tmp_path, *arguments)) for arguments in request.param]
        yield running.upstream_table("many", *urls) + running.server_table("many/*")


def ask_each(gate: running.Gateway) -> list[str]:
    """What sessions and modern calls get, more than there are endpoints."""
    sessions = [wire.LegacyClient(gate.endpoint).call(TOOL).text for _ in range(4)]
    return sessions + [wire.ModernClient(gate.endpoint).call(TOOL).text for _ in range(4)]


@pytest.mark.parametrize("replicas", [[["--sse"], ["--sse"]]], indirect=True)
def test_all_replicas_of_the_old_transport_are_used_also_after_a_restart(replicas: str, tmp_path: Path) -> None:
    with running.gateway(tmp_path, replicas) as gate:
        running.wait_for_tool(gate, TOOL)
        assert ask_each(gate) == [TEXT] * 8

    with running.gateway(tmp_path, replicas) as gate:
        assert ask_each(gate) == [TEXT] * 8


@pytest.mark.parametrize(
    "replicas",
    [
        [["--era", "modern"], ["--era", "legacy"]],
        [["--era", "legacy"], ["--era", "modern"]],
        [["--sse"], ["--era", "legacy"]],
        [["--era", "dual"], ["--sse"]],
    ],
    ids=["modern-legacy", "legacy-modern", "sse-legacy", "dual-sse"],
    indirect=True,
)
def test_a_call_that_meets_a_replica_of_another_kind_is_answered_all_the_same(replicas: str, tmp_path: Path) -> None:
    with running.gateway(tmp_path, replicas) as gate:
        running.wait_for_tool(gate, TOOL)

        assert ask_each(gate) == [TEXT] * 8
