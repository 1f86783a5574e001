"""The JSON-RPC envelope: what is refused, with which code, and what passes byte for byte."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from toolway.errors import ClientCannot, NotFound, UpstreamTimeout
from toolway.hookspecs.routing import RpcFault
from toolway.mcp.errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MISSING_CAPABILITY,
    PARSE_ERROR,
    RpcError,
    fault_of,
    redacted,
)
from toolway.mcp.messages import (
    MAX_DEPTH,
    SLICE,
    decode,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
    measured,
    result_kind,
    split_meta,
)


def request(params: bytes = b"{}", request_id: bytes = b"1") -> bytes:
    return b'{"jsonrpc":"2.0","id":' + request_id + b',"method":"x","params":' + params + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"nul",
        b"{",
        b'{"jsonrpc":"2.0"',
        b"\xff",
        request(b'{"a":"\xc3("}'),
        b"\xef\xbb\xbf" + request(),
        request(b'{"a":NaN}'),
        request(b'{"a":01}'),
        request(b'{"a":"\\ud800"}'),
        request(request_id=b"9" * 5000),
    ],
)
def test_what_is_not_json_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        decode(body)
    assert caught.value.rpc_code == PARSE_ERROR
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [b"[]", b"5", b"null", b'"x"', b"{}", b"[" + request() + b"]", b'{"jsonrpc":"1.0","id":1,"method":"x"}']
    + [request(request_id=bad) for bad in (b"null", b"true", b"1.5", b"1.0", b"[]", b"{}")]
    + [request(bad) for bad in (b"[]", b"null", b'"a"', b"1")]
    + [b'{"jsonrpc":"2.0","id":1}', b'{"jsonrpc":"2.0","id":1,"error":null}', b'{"jsonrpc":"2.0","id":1,"method":5}'],
)
def test_json_that_is_no_message_is_an_invalid_request(body: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        decode(body)
    assert caught.value.rpc_code == INVALID_REQUEST


@pytest.mark.parametrize(
    "params",
    [
        b"[" * (MAX_DEPTH + 1),
        b'{"a":' * 100000,
        b"[" * 100000 + b"]" * 100000,
        b'{"a":{' + b'"k":1,' * 10001 + b'"k":1}}',
        b'{"a":[' + b"1," * 100001 + b"1]}",
    ],
)
def test_what_is_too_deep_or_too_large_is_refused(params: bytes) -> None:
    with pytest.raises(RpcError) as caught:
        decode(request(params))
    assert caught.value.rpc_code == INVALID_REQUEST


@pytest.mark.parametrize("text", ["{" * 4_000_000, "\\\\" * 1_000_000, '\\"[' * 500_000, ",:" * 1_000_000])
def test_brackets_in_strings_do_not_count_and_cost_little(text: str) -> None:
    body = request(b'{"a":"' + text.encode() + b'"}')
    started = time.process_time()
    assert decode(body).members["a"]
    assert time.process_time() - started < 0.5


def test_bounds_are_met_exactly() -> None:
    list(measured(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH))
    list(measured(b"[[]," * 60 + b"[]" + b"]" * 60))


@pytest.mark.parametrize(
    "value", [b"9" * 60, b"1e400", b"-0.0", b"1.50", b'"\\u0041\\/"', b'{"a":1,"a":2}', b"[ 1 , 2 ]"]
)
def test_values_survive_byte_for_byte(value: bytes) -> None:
    envelope = decode(request(b'{"a":' + value + b"}"))
    assert bytes(envelope.members["a"]) == value
    assert value in encode_request(7, "x", envelope.members)
    assert value in encode_result("7", envelope.members["a"])


def test_the_last_of_duplicate_members_counts_and_only_it_is_sent_on() -> None:
    envelope = decode(request(b'{"a":1,"a":2}'))
    assert encode_request(1, "x", envelope.members) == request(b'{"a":2}')


def test_notifications_and_errors_are_encoded() -> None:
    assert encode_notification("n") == b'{"jsonrpc":"2.0","method":"n"}'
    fault = RpcFault(METHOD_NOT_FOUND, "no", Raw(b'{"big":123456789012345678901234567890}'))
    assert decode(encode_error("a", fault)).error == fault
    assert b'"id":null' in encode_error(None, fault)


def test_meta_is_split_from_params() -> None:
    own, meta = split_meta({"a": Raw(b"1"), "_meta": Raw(b'{"k":9007199254740993}')})
    assert own == {"a": Raw(b"1")}
    assert meta == {"k": Raw(b"9007199254740993")}
    assert split_meta({"_meta": Raw(b"5")}) == ({}, None)
    assert split_meta(None) == ({}, None)


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (b"{}", "complete"),
        (b'{"resultType":"input_required"}', "input_required"),
        (b"[]", "complete"),
        (b'{"text":"\\"resultType\\":1"}', "complete"),
        (b'{"a":{"resultType":"x"}}', "complete"),
        (b'"resultType"', "complete"),
    ],
)
def test_the_kind_of_a_result_is_its_own_result_type(result: bytes, kind: str) -> None:
    assert result_kind(Raw(result)) == kind


def test_a_client_never_sees_the_text_of_an_unexpected_exception() -> None:
    fault = fault_of(RuntimeError("password=hunter2"), "e1")
    assert fault.code == INTERNAL_ERROR
    assert "hunter2" not in fault.message
    assert msgspec.json.decode(msgspec.json.encode(fault))["data"] == {"code": "internal_error", "errorId": "e1"}


@pytest.mark.parametrize(
    ("data", "told"), [('{"sent":["hush"]}', {"sent": ["[hushed]"]}), ('"no"', "no"), ("hush", None)]
)
def test_a_fault_is_told_without_secrets_and_data_that_breaks_is_left_out(data: str, told: Any) -> None:
    fault = redacted(RpcFault(-1, "got hush", Raw(data.encode())), lambda text: text.replace("hush", "[hushed]"))

    assert (fault.code, fault.message) == (-1, "got [hushed]")
    assert msgspec.json.decode(msgspec.json.encode(fault)).get("data") == told


def test_errors_of_ours_keep_their_stable_code() -> None:
    fault = fault_of(UpstreamTimeout("too late"), "e2")
    assert msgspec.json.decode(msgspec.json.encode(fault))["data"]["code"] == "upstream_timeout"
    assert fault_of(NotFound("no such tool"), "e3").code == INVALID_PARAMS


def test_a_missing_capability_names_what_is_required() -> None:
    fault = fault_of(ClientCannot("no", capability="elicitation.url"), "e4")
    assert fault.code == MISSING_CAPABILITY
    assert msgspec.json.decode(msgspec.json.encode(fault))["data"] == {
        "requiredCapabilities": {"elicitation": {"url": {}}}
    }


def test_a_long_message_is_measured_in_steps_and_no_string_is_cut_in_two() -> None:
    longest = '"' + "[{:," * SLICE + '"'
    entries = ",".join(r'{"a\\":"[[[\"]]]","b":[1]}' for _ in range(4_900))
    fine = f'{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"l":{longest},"e":[{entries}]}}}}'.encode()
    deep = fine.replace(b"[1]}]", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}]")

    assert len(list(measured(fine))) > 1
    with pytest.raises(RpcError, match="too complex"):
        list(measured(deep))
