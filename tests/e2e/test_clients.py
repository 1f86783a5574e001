"""Every client sees through the gateway what it sees in the upstream itself, whichever eras the two speak."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import driving
import pytest
import running
from driving import CLIENTS, SSE_CLIENTS

ERAS = ("dual", "legacy", "modern")
MODERN_MODES = {
    ("python-sdk2", "auto"),
    ("typescript-client2", "auto"),
    ("fastmcp4", "auto"),
    ("inspector", "modern"),
}


@dataclass(frozen=True)
class Behind:
    """A gateway and what its upstream offers."""

    gate: running.Gateway
    tools: set[str]
    is_legacy: bool


@pytest.fixture(scope="module", params=ERAS)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    directory = tmp_path_factory.mktemp(request.param)
    with running.everything(directory, "--era", request.param) as upstream:
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo")
            yield Behind(gate, running.tools_of(upstream), request.param == "legacy")


@pytest.mark.parametrize(("client", "mode"), CLIENTS)
def test_a_client_sees_everything_through_the_gateway(behind: Behind, client: str, mode: str) -> None:
    report = driving.run(client, mode, behind.gate.endpoint)

    wrong = driving.differences(report, behind.tools, behind.is_legacy)
    assert wrong == {}, running.tail(behind.gate.log)
    if client != "inspector":
        assert report["protocol"] == ("2026-07-28" if (client, mode) in MODERN_MODES else "2025-11-25")


@pytest.mark.parametrize(("client", "mode"), SSE_CLIENTS)
def test_a_client_of_the_oldest_transport_sees_everything_through_the_gateway(
    behind: Behind, client: str, mode: str
) -> None:
    report = driving.run(client, mode, behind.gate.endpoint.removesuffix("/mcp") + "/sse")

    assert driving.differences(report, behind.tools, behind.is_legacy) == {}, running.tail(behind.gate.log)


def test_a_client_reads_every_page_of_an_upstream(tmp_path: Path) -> None:
    with (
        running.everything(tmp_path) as whole,
        running.everything(tmp_path, "--page-size", "5") as upstream,
    ):
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(tmp_path, tables) as gate:
            running.wait_for_tool(gate, "echo")

            assert running.tools_of(gate.endpoint) == running.tools_of(whole)


def test_an_upstream_of_the_oldest_transport_works_like_any_other(
    tmp_path: Path,
) -> None:
    with (
        running.everything(tmp_path) as whole,
        running.everything(tmp_path, "--sse") as upstream,
    ):
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*")
        with running.gateway(tmp_path, tables) as gate:
            running.wait_for_tool(gate, "echo")
            report = driving.run("python-sdk2", "auto", gate.endpoint)

            assert driving.differences(report, running.tools_of(whole)) == {}, running.tail(gate.log)
