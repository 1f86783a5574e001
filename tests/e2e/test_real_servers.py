"""Servers that others wrote, behind one gateway: stdio, streamable HTTP and the 2024-11-05 transport; every client."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import driving
import programs
import pytest
import running

from toolway_testing.ports import free_port

EVERYTHING = ("everything-stdio", "everything-http", "everything-sse")
CLIENTS = (*driving.CLIENTS, *driving.SSE_CLIENTS)
CONTENT = "grüße 😀"


@dataclass(frozen=True)
class Behind:
    """A gateway with the servers behind it, and the directory that one of them serves."""

    gate: running.Gateway
    root: Path


@dataclass(frozen=True)
class Seen:
    """What one client, which called every server, reports; and the file that it wrote."""

    report: dict[str, Any]
    file: Path

    def text(self, tool: str) -> str:
        """The answer to the call of that tool."""
        text, is_error = self.report[tool]
        assert not is_error, text
        return str(text)


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    directory, root = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("root")
    everything = programs.need("server-everything")
    with ExitStack() as stack:
        http, sse = (
            stack.enter_context(_everything_on_a_port(everything, transport, directory))
            for transport in ("streamableHttp", "sse")
        )
        tables = [
            running.stdio_table("everything-stdio", everything, "stdio"),
            running.upstream_table("everything-http", f"{http}/mcp"),
            running.upstream_table("everything-sse", f"{sse}/sse"),
            running.stdio_table("files", programs.need("server-filesystem"), str(root)),
            running.stdio_table("clock", programs.need("mcp-server-time"), "--local-timezone", "UTC"),
            running.server_table("*", naming="prefix"),
        ]
        gate = stack.enter_context(running.gateway(directory, "".join(tables)))
        for tool in calls(root / "any"):
            running.wait_for_tool(gate, tool)
        yield Behind(gate, root)


@pytest.fixture(scope="module", params=CLIENTS, ids="-".join)
def seen(request: pytest.FixtureRequest, behind: Behind) -> Seen:
    client, mode = request.param
    file = behind.root / f"{client}-{mode}.txt"
    url = behind.gate.endpoint if mode != "sse" else behind.gate.endpoint.removesuffix("/mcp") + "/sse"
    return Seen(driving.run(client, mode, url, calls(file)), file)


def test_a_client_sees_the_tools_of_every_server(seen: Seen, behind: Behind) -> None:
    assert set(seen.report["tools"]) == running.tools_of(behind.gate.endpoint)


@pytest.mark.parametrize("upstream", EVERYTHING)
def test_the_reference_server_answers_every_client_on_each_transport(seen: Seen, upstream: str) -> None:
    assert seen.text(f"{upstream}__echo") == f"Echo: {CONTENT}"


def test_a_file_written_through_the_gateway_is_on_the_disk(seen: Seen) -> None:
    assert str(seen.file) in seen.text("files__write_file")
    assert seen.file.read_text() == CONTENT
    assert CONTENT in seen.text("files__read_text_file")


def test_a_modern_stdio_server_tells_every_client_the_time(seen: Seen) -> None:
    assert "UTC" in seen.text("clock__get_current_time")


def calls(file: Path) -> dict[str, dict[str, Any]]:
    """At least one tool of every server, with its arguments; all clients call these, in this order."""
    return {
        **{f"{upstream}__echo": {"message": CONTENT} for upstream in EVERYTHING},
        "files__write_file": {"path": str(file), "content": CONTENT},
        "files__read_text_file": {"path": str(file)},
        "clock__get_current_time": {"timezone": "UTC"},
    }


@contextmanager
def _everything_on_a_port(everything: programs.Program, transport: str, directory: Path) -> Iterator[str]:
    """The base address of the reference server on that HTTP transport."""
    port, log = free_port(), directory / f"{transport}.log"
    command = [*everything.command, transport]
    with running.child(command, log, lambda: str(port) in running.tail(log), {"PORT": str(port)}):
        yield f"http://127.0.0.1:{port}"
