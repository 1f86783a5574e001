"""Servers that others wrote, behind one gateway: stdio, streamable HTTP and the 2024-11-05 transport."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import programs
import pytest
import running
from mcp import Client

Mode = Literal["auto", "legacy"]
EVERYTHING = ("everything-stdio", "everything-http", "everything-sse")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("root")


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[running.Gateway]:
    directory = tmp_path_factory.mktemp("real")
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
        gateway = stack.enter_context(running.gateway(directory, "".join(tables)))
        for tool in (
            *(f"{name}__echo" for name in EVERYTHING),
            "files__read_text_file",
            "clock__get_current_time",
        ):
            running.wait_for_tool(gateway, tool)
        yield gateway


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("upstream", EVERYTHING)
def test_the_reference_server_answers_on_each_transport(gate: running.Gateway, upstream: str, mode: Mode) -> None:
    assert call(gate, mode, f"{upstream}__echo", {"message": "hi"}) == "Echo: hi"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_file_written_through_the_gateway_is_on_the_disk(gate: running.Gateway, root: Path, mode: Mode) -> None:
    file = root / f"{mode}.txt"

    call(gate, mode, "files__write_file", {"path": str(file), "content": "grüße"})

    assert file.read_text() == "grüße"
    assert "grüße" in call(gate, mode, "files__read_text_file", {"path": str(file)})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_modern_stdio_server_tells_the_time(gate: running.Gateway, mode: Mode) -> None:
    assert "UTC" in call(gate, mode, "clock__get_current_time", {"timezone": "UTC"})


def call(gate: running.Gateway, mode: Mode, tool: str, arguments: dict[str, str]) -> str:
    async def connected() -> str:
        async with Client(gate.endpoint, mode=mode) as client:
            result = await client.call_tool(tool, arguments)
            return str(getattr(result.content[0], "text", ""))

    return asyncio.run(connected())


@contextmanager
def _everything_on_a_port(everything: programs.Program, transport: str, directory: Path) -> Iterator[str]:
    """The base address of the reference server on that HTTP transport."""
    port, log = running.free_port(), directory / f"{transport}.log"
    command = [*everything.command, transport]
    with running.child(command, log, lambda: str(port) in running.tail(log), {"PORT": str(port)}):
        yield f"http://127.0.0.1:{port}"
