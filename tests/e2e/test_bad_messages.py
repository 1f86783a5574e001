"""Messages that are JSON and still wrong: each gets a JSON-RPC error under its own id, never a fault."""

import json
from collections.abc import Iterator
from typing import Any

import fronts
import pytest
import wire
from fronts import Door

INVALID_REQUEST, INVALID_PARAMS, HEADER_MISMATCH = -32600, -32602, -32020


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with fronts.door(tmp_path_factory.mktemp("door")) as door:
        yield door


BAD_PARAMS: list[tuple[str, Any]] = [
    ("initialize", {"protocolVersion": 1}),
    ("tools/call", {}),
    ("tools/call", {"name": None}),
    ("tools/call", {"name": ["echo_raw"]}),
    ("tools/call", {"name": "no such tool"}),
    ("tools/list", {"cursor": 7}),
    ("tools/list", {"cursor": "no such cursor"}),
    ("prompts/get", {"name": {}}),
    ("resources/read", {}),
    ("resources/read", {"uri": 7}),
    ("completion/complete", {}),
    ("completion/complete", {"ref": "prompt"}),
    ("completion/complete", {"ref": {"type": "ref/other"}}),
]
LEGACY_BAD_PARAMS: list[tuple[str, Any]] = [
    ("logging/setLevel", {}),
    ("logging/setLevel", {"level": ["info"]}),
    ("logging/setLevel", {"level": {"a": 1}}),
    ("logging/setLevel", {"level": "loud"}),
    ("resources/subscribe", {}),
    ("resources/subscribe", {"uri": []}),
    ("resources/unsubscribe", {"uri": None}),
]


@pytest.mark.parametrize(("method", "params"), [*BAD_PARAMS[1:], *LEGACY_BAD_PARAMS])
def test_bad_params_of_a_session_are_refused_under_the_requests_id(door: Door, method: str, params: Any) -> None:
    answer = wire.LegacyClient(door.url).request(method, params, request_id="mine")

    assert answer.status < 500
    assert (answer.reply["id"], answer.code) == ("mine", INVALID_PARAMS)


@pytest.mark.parametrize(("method", "params"), BAD_PARAMS[1:])
def test_bad_params_on_the_modern_wire_are_refused_under_the_requests_id(door: Door, method: str, params: Any) -> None:
    answer = door.modern.request(method, params, request_id="mine")

    assert 400 <= answer.status < 500
    assert answer.reply["id"] == "mine"
    assert answer.code in {INVALID_PARAMS, HEADER_MISMATCH}


@pytest.mark.parametrize("arguments", [b"[]", b"null", b'"text"', b"1"])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_arguments_that_are_no_object_never_break_the_gateway(door: Door, era: str, arguments: bytes) -> None:
    client = door.modern if era == "modern" else wire.LegacyClient(door.url)

    answer = client.call("echo_raw", arguments, request_id=5)

    assert answer.status < 500
    assert answer.reply["id"] == 5


@pytest.mark.parametrize("params", [b"[]", b"null", b'"text"', b"1", b"true"])
def test_params_that_are_no_object_are_refused_under_the_requests_id(door: Door, params: bytes) -> None:
    answer = wire.LegacyClient(door.url).post(b'{"jsonrpc":"2.0","id":"mine","method":"ping","params":%s}' % params)

    assert (answer.status, answer.code, answer.reply["id"]) == (400, INVALID_REQUEST, "mine")


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":1,"method":"ping"}',
        b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
        b'{"jsonrpc":2.0,"id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"method":5}',
        b'{"jsonrpc":"2.0","id":1,"method":null}',
    ],
)
def test_a_message_that_is_no_json_rpc_is_refused_under_the_requests_id(door: Door, body: bytes) -> None:
    answer = wire.LegacyClient(door.url).post(body)

    assert (answer.status, answer.code, answer.reply["id"]) == (400, INVALID_REQUEST, 1)


@pytest.mark.parametrize("request_id", [b"null", b"[]", b"{}", b"true", b"1.5", b"1e400", b"1" * 5000])
def test_an_id_that_no_request_may_have_is_refused_without_one(door: Door, request_id: bytes) -> None:
    answer = wire.LegacyClient(door.url).post(b'{"jsonrpc":"2.0","id":%s,"method":"ping"}' % request_id)

    assert (answer.status, answer.reply["id"]) == (400, None)


@pytest.mark.parametrize("request_id", [b"9007199254740993", b"-1", b"0", b'""', b'"\\ud83d\\ude00"', b"1" * 40])
@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_an_odd_id_comes_back_as_it_was(door: Door, era: str, request_id: bytes) -> None:
    meta = wire.encode(_META if era == "modern" else {})
    body = b'{"jsonrpc":"2.0","id":%s,"method":"tools/list","params":{"_meta":%s}}' % (request_id, meta)

    modern = wire.modern_headers("tools/list")
    answer = wire.send(door.url, "POST", body, modern) if era == "modern" else wire.LegacyClient(door.url).post(body)

    assert answer.reply["id"] == json.loads(request_id)
    assert "tools" in answer.result


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("notifications/cancelled", {}),
        ("notifications/cancelled", {"requestId": None}),
        ("notifications/cancelled", {"requestId": {"a": []}}),
        ("notifications/cancelled", {"requestId": "unknown"}),
        ("notifications/progress", {"progressToken": [], "progress": "x"}),
        ("notifications/roots/list_changed", {"x": 1}),
        ("notifications/no/such", {"x": 1}),
    ],
)
def test_a_notification_is_accepted_whatever_it_says(door: Door, method: str, params: Any) -> None:
    session = wire.LegacyClient(door.url)

    assert session.notify(method, params).status == 202
    assert session.request("ping").result == {}


@pytest.mark.parametrize("request_id", [b'"nobody.1"', b'"no dot"', b'"."', b"1", b'"' + b"x" * 5000 + b'"'])
@pytest.mark.parametrize("outcome", [b'"result":{}', b'"error":{"code":1,"message":"no"}', b'"result":7'])
def test_an_answer_to_nothing_is_accepted_and_forgotten(door: Door, request_id: bytes, outcome: bytes) -> None:
    session = wire.LegacyClient(door.url)

    assert session.post(b'{"jsonrpc":"2.0","id":%s,%s}' % (request_id, outcome)).status == 202


def test_a_response_is_not_accepted_on_the_modern_wire(door: Door) -> None:
    answer = wire.send(door.url, "POST", b'{"jsonrpc":"2.0","id":1,"result":{}}', wire.modern_headers("ping"))

    assert (answer.status, answer.code) == (400, INVALID_REQUEST)


def test_a_batch_is_refused(door: Door) -> None:
    batch = wire.encode([]).replace(b"[]", b"[%s]" % wire.message("ping", {}, 1))

    assert (wire.LegacyClient(door.url).post(batch).code) == INVALID_REQUEST


@pytest.mark.parametrize("value", [b"[" * 65 + b"]" * 65, b"[" * 100_000 + b"]" * 100_000])
def test_arguments_that_are_too_deep_are_refused(door: Door, value: bytes) -> None:
    answer = door.modern.call("echo_raw", {"deep": value})

    assert (answer.status, answer.code) == (400, INVALID_REQUEST)


def test_arguments_with_too_many_keys_are_refused(door: Door) -> None:
    answer = door.modern.call("echo_raw", {f"key{number}": number for number in range(10_001)})

    assert (answer.status, answer.code) == (400, INVALID_REQUEST)


def test_arguments_with_many_short_values_are_taken(door: Door) -> None:
    answer = door.modern.call("echo_raw", {"values": list(range(50_000)), "braces": "{[:," * 50_000})

    assert answer.status == 200


def test_keys_that_come_twice_reach_the_upstream_once(door: Door) -> None:
    twice = b'"name":"nothing","name":"echo_raw","arguments":{},"arguments":{"last":1}'
    params = b'{%s,"_meta":%s}' % (twice, wire.encode(_META))
    body = b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping","method":"tools/call","params":%s}' % params

    answer = wire.send(door.url, "POST", body, wire.modern_headers("tools/call", {"name": "echo_raw"}))

    assert answer.reply["id"] == 2
    assert answer.result["received"] == {"name": "echo_raw", "arguments": {"last": 1}}


def test_nothing_of_all_this_was_unexpected(door: Door) -> None:
    assert fronts.complaints(door.gate) == []


_META = {f"{wire.PREFIX}/protocolVersion": wire.MODERN, f"{wire.PREFIX}/clientCapabilities": {}}
