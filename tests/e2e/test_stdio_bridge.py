"""`toolway stdio` makes a server of the gateway usable for clients that can only start a command."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
import running
import wire
from mcp import Client, StdioServerParameters
from mcp.client.session import ClientRequestContext

from toolway_testing.ports import free_port

TOOLWAY = str(Path(sys.executable).with_name("toolway"))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[running.Gateway]:
    """A gateway in front of the fixture, with a server `closed` that wants a credential."""
    directory = tmp_path_factory.mktemp("bridge")
    with running.everything(directory) as upstream:
        closed = '[[servers]]\nname = "closed"\naccess = "authenticated"\n'
        tables = running.upstream_table("fixture", upstream) + running.server_table("fixture/*") + closed
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo")
            yield gate


@pytest.fixture(params=["auto", "legacy"])
def client(request: pytest.FixtureRequest, gate: running.Gateway) -> Client:
    """The SDK's client, which starts the bridge."""
    arguments = ["--url", gate.url, "stdio", "--server", "conformance"]
    return Client(
        StdioServerParameters(command=TOOLWAY, args=arguments),
        mode=request.param,
        elicitation_callback=_elicit,
        sampling_callback=_sample,
    )


def call(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    async def connected() -> str:
        async with client:
            result = await client.call_tool(tool, arguments)
            return str(getattr(result.content[0], "text", ""))

    return asyncio.run(connected())


def test_a_client_lists_what_the_server_shows(gate: running.Gateway, client: Client) -> None:
    async def listed() -> set[str]:
        async with client:
            return {tool.name for tool in (await client.list_tools()).tools}

    assert asyncio.run(listed()) == running.tools_of(gate.endpoint)


def test_a_call_gets_its_arguments_across_and_its_result_back(client: Client) -> None:
    arguments = {"text": "grüße\n😀\u2028", "big": 2**53 - 1, "nested": {"empty": [], "null": None}}

    assert json.loads(call(client, "echo", arguments)) == arguments


def test_a_client_is_asked_for_its_users_answer(client: Client) -> None:
    assert json.loads(call(client, "ask_elicitation", {"message": "what?"}))["content"] == {"answer": "forty-two"}


def test_a_client_is_asked_for_its_models_answer(client: Client) -> None:
    assert "a sampled text" in call(client, "ask_sampling", {"prompt": "say"})


def test_a_client_hears_of_progress(client: Client) -> None:
    seen: list[float] = []

    async def report(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async def called() -> None:
        async with client:
            await client.call_tool("test_tool_with_progress", {}, progress_callback=report)

    asyncio.run(called())
    assert seen == [0, 50, 100]


def test_a_cancelled_call_is_cancelled_at_the_upstream(gate: running.Gateway, client: Client) -> None:
    watching = wire.ModernClient(gate.endpoint)
    before = int(watching.call("cancelled_count").text)

    async def cancelled() -> None:
        async with client:
            slow = asyncio.create_task(client.call_tool("slow", {"seconds": 60}))
            while not int(watching.call("running_count").text):
                await asyncio.sleep(0.02)
            slow.cancel()
            await asyncio.wait([slow])
            while int(watching.call("cancelled_count").text) == before:
                await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(cancelled(), 20))


def test_a_tool_with_mirrored_arguments_is_called(client: Client) -> None:
    assert "eu" in call(client, "test_x_mcp_header", {"region": "eu", "count": 3})


def test_what_is_no_json_is_answered_and_the_bridge_goes_on(gate: running.Gateway) -> None:
    opening = wire.message("initialize", _INITIALIZE, 1)

    lines = bridged(gate, b"{no json}\n\n[]\n" + opening + b"\n", answers=3)

    assert [line.get("error", {}).get("code") for line in lines] == [-32700, -32600, None]
    assert lines[2]["result"]["protocolVersion"] == wire.LEGACY


@pytest.mark.parametrize(
    "params",
    [{"requestId": []}, {"requestId": {}}, {"requestId": None}, {"requestId": 1.5}, {"requestId": "unknown"}, {}],
)
def test_a_cancellation_of_nothing_is_ignored(gate: running.Gateway, params: dict[str, Any]) -> None:
    cancelled = wire.message("notifications/cancelled", params)

    (line,) = bridged(gate, cancelled + b"\n" + wire.message("initialize", _INITIALIZE, 1) + b"\n", answers=1)

    assert line["id"] == 1


@pytest.mark.parametrize("params", [{"name": 7, "arguments": {}}, {"arguments": []}, {"name": "echo", "arguments": 1}])
def test_bad_params_are_answered_under_their_id(gate: running.Gateway, params: dict[str, Any]) -> None:
    line = wire.message("tools/call", {**params, "_meta": _MODERN}, "mine")

    (answer,) = bridged(gate, line + b"\n", answers=1)

    assert answer["id"] == "mine"


@pytest.mark.parametrize("version", [b"7", b"null", b'"a\\r\\nX-Evil: 1"'])
def test_a_version_that_is_none_is_answered_under_its_id(gate: running.Gateway, version: bytes) -> None:
    meta = {**_MODERN, f"{wire.PREFIX}/protocolVersion": version}

    (answer,) = bridged(gate, wire.message("tools/list", {"_meta": meta}, "mine") + b"\n", answers=1)

    assert (answer["id"], "error" in answer) == ("mine", True)


def test_a_client_without_the_credential_that_a_server_needs_is_told_so(gate: running.Gateway) -> None:
    line = wire.message("tools/list", {"_meta": _MODERN}, "mine")

    (answer,) = bridged(gate, line + b"\n", answers=1, server="closed")

    assert (answer["id"], "credential" in answer["error"]["message"]) == ("mine", True)


@pytest.mark.parametrize("modern", [True, False])
def test_a_bridge_without_a_gateway_says_so(modern: bool) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    call = wire.message("tools/call", {"name": "echo", "arguments": {}, "_meta": _MODERN}, "mine")

    (answer,) = bridged(url, (call if modern else wire.message("initialize", _INITIALIZE, "mine")) + b"\n", answers=1)

    assert (answer["id"], answer["error"]["code"]) == ("mine", -32603)


def test_standard_output_carries_nothing_but_messages(gate: running.Gateway) -> None:
    lines = bridged(gate, wire.message("initialize", _INITIALIZE, 1) + b"\n", answers=1)

    assert [line["jsonrpc"] for line in lines] == ["2.0"]


_INITIALIZE = {
    "protocolVersion": wire.LEGACY,
    "capabilities": {},
    "clientInfo": {"name": "by hand", "version": "1"},
}
_MODERN = {f"{wire.PREFIX}/protocolVersion": wire.MODERN, f"{wire.PREFIX}/clientCapabilities": {}}


def bridged(
    gate: running.Gateway | str, lines: bytes, answers: int, server: str = "conformance"
) -> list[dict[str, Any]]:
    """The first answers to these lines; then the client closes its end, and the bridge must end too."""
    url = gate if isinstance(gate, str) else gate.url
    command = [TOOLWAY, "--url", url, "stdio", "--server", server]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as bridge:
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        bridge.stdin.write(lines)
        bridge.stdin.flush()
        read = [bridge.stdout.readline() for _ in range(answers)]
        rest, errors = bridge.communicate(timeout=20)
    assert (rest, bridge.returncode) == (b"", 0), errors.decode()
    assert b"Traceback" not in errors
    return [json.loads(line) for line in read]


async def _elicit(context: ClientRequestContext, params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"answer": "forty-two"})


async def _sample(context: ClientRequestContext, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="a sampled text")
    return types.CreateMessageResult(role="assistant", content=content, model="test-model")
