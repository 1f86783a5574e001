"""Conversations on one stream in each direction: programs, and HTTP+SSE of 2024-11-05."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
import pytest
from aiohttp import web
from upstream_parts import Dial, Ear, call, fixture_command, leg, request, serving, until

from toolway.errors import SessionLost, UpstreamError, UpstreamProtocol, UpstreamTimeout
from toolway.hookspecs.routing import UpstreamRequest, Wants

ASKED: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
ACCEPTED = {"action": "accept", "content": {"username": "ada", "email": "a@b.example"}}

SCRIPT = """
import json, sys
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
waiting, answers = [], 0
for line in sys.stdin:
    message = json.loads(line)
    method, number, params = message.get("method"), message.get("id"), message.get("params", {})
    name = params.get("name")
    answers += "result" in message
    if method == "initialize":
        server = {"name": "s", "version": "1"}
        say(id=number, result={"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": server})
    elif method == "notifications/cancelled":
        print("cancelled", params["requestId"], file=sys.stderr, flush=True)
        say(method="notifications/message", params={"level": "info", "data": "cancelled"})
    elif name == "hold":
        waiting.append(number)
        if len(waiting) == 3:
            for each in reversed(waiting): say(id=each, result={"number": each})
    elif name == "junk":
        print("this is no JSON", flush=True); say(id=number, result={})
    elif name == "broken":
        print('{"jsonrpc": "2.0", "id": 1, "resu', flush=True)
    elif name == "foreign":
        for each in (999, str(number), None): say(id=each, result={"whose": "nobody"})
        say(id=number, result={"whose": "ours"})
    elif name == "many digits":
        tag = '{"io.modelcontextprotocol/subscriptionId":' + "9" * 5000 + "}"
        print('{"jsonrpc":"2.0","method":"notifications/message","params":{"_meta":' + tag + "}}", flush=True)
        say(id=number, result={})
    elif name == "progress":
        say(method="notifications/progress", params={"progressToken": "t", "progress": 1})
    elif name == "ask":
        for each in range(2000): say(id=f"{each}".zfill(2000), method="ping")
        say(id=number, result={})
    elif name == "answers":
        say(id=number, result={"answers": answers})
    elif name == "deaf":
        say(id=number, result={})
        __import__("time").sleep(60)
    elif name == "close input":
        __import__("os").close(0)
        say(id=number, result={})
        __import__("time").sleep(60)
    elif name == "exit":
        sys.exit(1)
    elif name == "sleep":
        pass
    elif method == "tools/call":
        say(id=number, result={"pid": __import__("os").getpid(), "params": params})
"""


def script() -> tuple[str, ...]:
    return (sys.executable, "-c", SCRIPT)


def meeting_a_bug(tool: str) -> UpstreamRequest:
    """A call whose `_meta` is of a wrong type: who compares its token with that of a progress message fails."""
    asked = call(tool)
    asked.params["_meta"] = {"progressToken": "t"}  # type: ignore[assignment]
    return asked


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_program_is_called_in_both_eras(era: Any, start: Dial) -> None:
    reply = await start(leg(era), *fixture_command("--stdio")).request(call("test_simple_text"))
    assert reply.result is not None
    assert b"simple text" in bytes(reply.result)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_programs_items_are_discovered(era: Any, start: Dial) -> None:
    found = await start(leg(era), *fixture_command("--stdio", "--page-size", "4")).discover()
    assert {item.kind for item in found.items} == {"tool", "prompt", "resource", "template"}


async def test_the_bundled_demo_speaks_both_eras(start: Dial) -> None:
    for era in ("modern", "legacy"):
        reply = await start(leg(era), sys.executable, "-m", "toolway.cli.demo").request(call("add", a=2, b=3))
        assert reply.result is not None
        assert b'"5"' in bytes(reply.result)


async def test_a_program_asks_the_client_of_the_call(start: Dial) -> None:
    ear = Ear(elicitation_create=ACCEPTED)
    connection = start(leg("legacy", capabilities=ASKED), *fixture_command("--stdio"))
    reply = await connection.request(call("test_elicitation", ear, message="who?"))
    assert reply.result is not None
    assert b"ada" in bytes(reply.result)


async def test_progress_is_told_apart_by_token(start: Dial) -> None:
    connection = start(leg("legacy"), *fixture_command("--stdio"))
    ears = [Ear() for _ in range(5)]
    await asyncio.gather(
        *(connection.request(call("test_tool_with_progress", ear, token=f"t{n}")) for n, ear in enumerate(ears))
    )
    for n, ear in enumerate(ears):
        tokens = [params["progressToken"] for method, params in ear.heard if method == "notifications/progress"]
        assert tokens == [f"t{n}"] * 3


async def test_answers_in_any_order_reach_their_own_calls(start: Dial) -> None:
    connection = start(leg("legacy"), *script())
    replies = await asyncio.gather(*(connection.request(call("hold")) for _ in range(3)))
    assert len({bytes(reply.result or b"") for reply in replies}) == 3


@pytest.mark.parametrize("tool", ["junk", "foreign"])
async def test_what_a_program_prints_besides_is_skipped(tool: str, start: Dial) -> None:
    reply = await start(leg("legacy"), *script()).request(call(tool))
    assert reply.result is not None
    assert b"nobody" not in bytes(reply.result)


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_subscription_id_that_is_too_long_for_a_number_is_nobodys(era: Any, start: Dial) -> None:
    connection = start(leg(era), *script())
    assert (await asyncio.wait_for(connection.request(call("many digits")), 5)).result is not None


async def test_a_message_that_meets_a_bug_ends_the_conversation_and_is_logged(
    start: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    connection = start(leg("legacy"), *script())

    with pytest.raises(UpstreamError, match="could not be read"):
        await asyncio.wait_for(connection.request(meeting_a_bug("progress")), 5)

    assert (await connection.request(call("where"))).result is not None
    assert "met a bug" in caplog.text


async def test_half_a_message_fails_the_call_that_waits_for_it(start: Dial) -> None:
    with pytest.raises(UpstreamProtocol):
        await start(leg("legacy"), *script()).request(call("broken"))


async def test_a_program_that_ends_fails_its_calls_and_is_started_again(start: Dial) -> None:
    connection = start(leg("legacy"), *script())
    with pytest.raises(UpstreamError) as caught:
        await connection.request(call("exit"))
    assert caught.value.sent
    assert not isinstance(caught.value, SessionLost)
    assert (await connection.request(call("where"))).result is not None


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_program_that_closed_its_input_is_replaced_after_a_call_found_out(
    era: Any, start: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.process.STOP_SECONDS", 0.1)
    connection = start(leg(era), *script())
    await connection.request(call("close input"))
    with pytest.raises(UpstreamError, match="closed its input"):
        await connection.request(call("where"))
    assert (await connection.request(call("where"))).result is not None


async def test_a_silent_program_is_a_timeout_and_hears_of_it(start: Dial) -> None:
    ear = Ear()
    asked = call("sleep")
    asked.first_byte = 0.2
    with pytest.raises(UpstreamTimeout):
        await start(leg("legacy", ear), *script()).request(asked)
    await until(lambda: ("notifications/message", {"level": "info", "data": "cancelled"}) in ear.heard)


async def test_a_program_that_does_not_read_its_answers_gets_no_more_of_them(start: Dial) -> None:
    connection = start(leg("legacy"), *script())
    await connection.request(call("ask"))
    reply = await connection.request(call("answers"))
    assert 0 < msgspec.json.decode(reply.result or b"")["answers"] < 500


async def test_calls_that_a_program_never_reads_leave_nothing_that_waits(
    start: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolway.bundled.upstreams.duplex.PATIENCE", 0.1)
    connection = start(leg("modern"), *script())
    await connection.request(call("deaf"))
    before = len(asyncio.all_tasks())
    for _ in range(20):
        asked = call("where", text="x" * 100_000)
        asked.first_byte = 0.01
        with pytest.raises(UpstreamTimeout):
            await connection.request(asked)
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def test_an_environment_is_made_of_secrets(start: Dial) -> None:
    program = SCRIPT.replace('os").getpid()', "os\").environ['KEY']")
    connection = start(leg("legacy"), sys.executable, "-c", program, env={"KEY": "literal:hidden"})
    reply = await connection.request(call("where"))
    assert reply.result is not None
    assert b"hidden" in bytes(reply.result)


async def test_log_messages_of_one_call_never_reach_another(start: Dial) -> None:
    connection = start(leg("legacy"), *fixture_command("--stdio"))
    waiting, logging = Ear(), Ear()
    slow = asyncio.create_task(connection.request(call("test_tool_with_progress", waiting)))
    await connection.request(call("test_tool_with_logging", logging))
    await slow
    assert "notifications/message" not in waiting.methods()


async def test_a_modern_programs_changes_come_on_a_subscription(start: Dial) -> None:
    ear = Ear()
    connection = start(leg("modern", ear), *fixture_command("--stdio"))
    await connection.watch(Wants(tools=True))
    await connection.request(call("test_trigger_tool_change"))
    await until(lambda: "notifications/tools/list_changed" in ear.methods())


async def test_the_old_transport_carries_calls_and_questions(everything_sse: str, dial: Dial) -> None:
    ear = Ear(elicitation_create=ACCEPTED)
    connection = dial(everything_sse, leg("legacy", capabilities=ASKED))
    reply = await connection.request(call("test_elicitation", ear, message="who?"))
    assert reply.result is not None
    assert b"ada" in bytes(reply.result)
    found = await connection.discover()
    assert len(found.items) > 10


async def test_an_event_that_meets_a_bug_ends_the_conversation_and_is_logged(
    everything_sse: str, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    connection = dial(everything_sse, leg("legacy"))

    with pytest.raises(UpstreamError, match="ended"):
        await asyncio.wait_for(connection.request(meeting_a_bug("test_tool_with_progress")), 5)

    assert (await connection.request(call("test_simple_text"))).result is not None
    assert "met a bug" in caplog.text


async def test_an_endpoint_event_of_another_origin_is_refused(dial: Dial) -> None:
    async def lure(asked: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(asked)
        await response.write(b"event: endpoint\ndata: http://127.0.0.2/steal\n\n")
        await asyncio.sleep(5)
        return response

    async with serving(lure) as url:
        with pytest.raises(UpstreamProtocol, match="another origin"):
            await dial(url, leg("legacy")).request(request("ping"))
