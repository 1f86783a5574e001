"""The big list of naughty strings goes through a tool call's arguments and result byte for byte."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import running
import wire

BLNS = Path(__file__).resolve().parents[1] / "data/blns/blns.json"
STRINGS: list[str] = json.loads(BLNS.read_bytes())
ERAS = ("modern", "legacy")
UPSTREAMS = ("dual", "legacy-only", "modern-only")


@dataclass(frozen=True)
class Between:
    """A client of one era, and the raw upstream that its calls go to."""

    client: wire.ModernClient | wire.LegacyClient
    upstream: str

    def received(self) -> list[bytes]:
        journal = json.loads(wire.send(f"{self.upstream}/_requests").body)
        return [base64.b64decode(each["body_base64"]) for each in journal if each["rpc"] == "tools/call"]

    def order(self, trick: str | None) -> None:
        """What the upstream does with tool calls from now on."""
        order = wire.encode({"trick": trick, "method": "tools/call"})
        wire.send(f"{self.upstream}/_order", "PUT", order)


@pytest.fixture(scope="module", params=UPSTREAMS)
def behind(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[running.Gateway, str]]:
    directory = tmp_path_factory.mktemp(request.param)
    with running.raw_upstream(directory, "--era", request.param.removesuffix("-only")) as upstream:
        tables = running.upstream_table("raw", upstream) + running.server_table("raw/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo_raw")
            yield gate, upstream.removesuffix("/mcp")


@pytest.fixture(params=ERAS)
def between(request: pytest.FixtureRequest, behind: tuple[running.Gateway, str]) -> Iterator[Between]:
    gate, upstream = behind
    client = wire.LegacyClient if request.param == "legacy" else wire.ModernClient
    yield Between(client(gate.endpoint), upstream)
    wire.send(f"{upstream}/_requests", "DELETE")
    wire.send(f"{upstream}/_order", "PUT", b'{"trick":null}')


@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "unescaped"])
def test_every_string_survives_in_arguments_and_result(between: Between, ascii_only: bool) -> None:
    assert len(STRINGS) == 515
    arguments = json.dumps({"strings": STRINGS, **dict.fromkeys(STRINGS)}, ensure_ascii=ascii_only).encode()

    answer = between.client.call("echo_raw", arguments)

    assert [arguments in body for body in between.received()] == [True]
    assert b'"structuredContent":{"arguments":%s}' % arguments in answer.body


def test_every_string_survives_in_an_event_stream(between: Between) -> None:
    arguments = json.dumps({"strings": STRINGS}, ensure_ascii=False).encode()
    between.order("sse")

    answer = between.client.call("echo_raw", arguments)

    assert b'"structuredContent":{"arguments":%s}' % arguments in answer.messages[-1]


@pytest.mark.parametrize("text", STRINGS[::8])
def test_a_string_survives_on_its_own(between: Between, text: str) -> None:
    arguments = wire.encode({"text": text})

    answer = between.client.call("echo_raw", arguments)

    assert answer.result["structuredContent"]["arguments"] == {"text": text}
    assert arguments in between.received()[-1]


@pytest.mark.parametrize("text", [text for text in STRINGS if text][::16])
def test_a_string_as_a_name_is_refused_without_a_fault(between: Between, text: str) -> None:
    answers = [
        between.client.call(text),
        between.client.request("prompts/get", {"name": text}),
        between.client.request("tools/list", {"cursor": text}),
    ]

    assert [answer.code for answer in answers] == [-32602] * 3
    assert between.received() == []


@pytest.mark.parametrize("text", [text for text in STRINGS if text][::16])
def test_a_string_as_a_uri_reaches_the_upstream_unchanged(between: Between, text: str) -> None:
    answer = between.client.request("resources/read", {"uri": text})

    assert answer.result["contents"][0]["uri"] == text


def test_line_breaks_between_tokens_do_not_break_an_event_stream(between: Between) -> None:
    result = b'{"resultType":"complete",\r\n"content":\r[ ],\n"text" : "a\\r\\nb"}'
    between.order("progress")

    params = {"name": "result_raw", "arguments": {"result": result}}
    answer = between.client.request("tools/call", params, meta={"progressToken": 1})

    assert len(answer.messages) > 1
    assert answer.result["text"] == "a\r\nb"
