"""Bodies and arguments of JSONTestSuite: what is no JSON is refused, what is JSON survives byte for byte."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import running
import wire

SUITE = Path(__file__).resolve().parents[1] / "data/json_test_suite/test_parsing"
PARSE_ERROR, INVALID_REQUEST = -32700, -32600
ERAS = ("modern", "legacy")
EXCEPTION_TEXT = (b"Traceback", b"Error(", b"msgspec", b"byte ", b"codec")


@dataclass(frozen=True)
class Door:
    """A gateway with the raw upstream behind it, and a client of each era."""

    url: str
    upstream: str
    log: Path
    legacy: wire.LegacyClient

    def post(self, era: str, body: bytes) -> wire.Answer:
        """The bytes as a body, with the headers of a tool call."""
        if era == "legacy":
            return self.legacy.post(body)
        headers = wire.modern_headers("tools/call", {"name": "echo_raw"})
        return wire.send(self.url, "POST", body, headers)

    def echo(self, era: str, arguments: bytes) -> wire.Answer:
        """A call with these arguments."""
        client = self.legacy if era == "legacy" else wire.ModernClient(self.url)
        return client.call("echo_raw", arguments)

    def received(self) -> list[bytes]:
        """The bodies of the calls that reached the upstream."""
        journal = json.loads(wire.send(f"{self.upstream}/_requests").body)
        return [base64.b64decode(each["body_base64"]) for each in journal if each["rpc"] == "tools/call"]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory = tmp_path_factory.mktemp("hostile")
    with running.raw_upstream(directory) as upstream:
        tables = running.upstream_table("raw", upstream) + running.server_table("raw/*")
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo_raw")
            base = upstream.removesuffix("/mcp")
            yield Door(gate.endpoint, base, gate.log, wire.LegacyClient(gate.endpoint))


@pytest.fixture(autouse=True)
def journal(door: Door) -> None:
    wire.send(f"{door.upstream}/_requests", "DELETE")


def files(prefix: str) -> list[Path]:
    return sorted(SUITE.glob(f"{prefix}_*.json"))


def each(prefix: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test for every file of that class on both paths."""

    def parametrized(test: Callable[..., None]) -> Callable[..., None]:
        by_file = pytest.mark.parametrize("file", files(prefix), ids=lambda file: file.stem)
        by_era: Callable[..., Callable[..., None]] = pytest.mark.parametrize("era", ERAS)
        return by_era(by_file(test))

    return parametrized


def test_the_whole_suite_is_here() -> None:
    assert [len(files(prefix)) for prefix in "nyi"] == [188, 95, 35]


@each("n")
def test_a_body_that_is_not_json_is_refused(door: Door, era: str, file: Path) -> None:
    answer = door.post(era, file.read_bytes())

    assert (answer.status, answer.code) in {(400, PARSE_ERROR), (400, INVALID_REQUEST)}
    assert answer.reply["id"] is None
    assert not any(text in answer.body for text in EXCEPTION_TEXT)


@each("n")
def test_arguments_that_are_not_json_are_refused_before_the_upstream(door: Door, era: str, file: Path) -> None:
    answer = door.post(era, b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}' % file.read_bytes())

    assert 400 <= answer.status < 500
    assert answer.code in {PARSE_ERROR, INVALID_REQUEST}
    assert door.received() == []


@each("y")
def test_a_body_that_is_json_but_no_message_is_refused(door: Door, era: str, file: Path) -> None:
    answer = door.post(era, file.read_bytes())

    assert (answer.status, answer.code) == (400, INVALID_REQUEST)


@each("y")
def test_a_value_survives_as_an_argument_byte_for_byte(door: Door, era: str, file: Path) -> None:
    arguments = b'{"value":%s}' % file.read_bytes()

    answer = door.echo(era, arguments)

    assert answer.status == 200
    assert [arguments in body for body in door.received()] == [True]
    assert b'"structuredContent":{"arguments":%s}' % arguments in answer.body


@each("i")
def test_a_body_that_may_be_json_never_breaks_the_gateway(door: Door, era: str, file: Path) -> None:
    answer = door.post(era, file.read_bytes())

    assert answer.status == 400
    assert answer.code in {PARSE_ERROR, INVALID_REQUEST}


@each("i")
def test_a_value_that_may_be_json_survives_or_is_refused(door: Door, era: str, file: Path) -> None:
    arguments = b'{"value":%s}' % file.read_bytes()

    answer = door.echo(era, arguments)

    if answer.status == 200 and "result" in answer.reply:
        assert b'"structuredContent":{"arguments":%s}' % arguments in answer.body
    assert answer.status < 500


def test_nothing_of_all_this_was_unexpected(door: Door) -> None:
    assert "Traceback" not in running.tail(door.log, 1_000_000)
