"""The door of a running gateway: what is foreign, malformed or too much gets a clean refusal on the real socket."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import running
import wire

from toolway_testing.polling import eventually_now

INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32600, -32601, -32602
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
CALL = {"name": "echo_raw", "arguments": {}}
BODY_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Door:
    """A gateway with one public server and one that needs a credential."""

    gate: running.Gateway
    token: str

    @property
    def url(self) -> str:
        return self.gate.endpoint

    @property
    def modern(self) -> wire.ModernClient:
        return wire.ModernClient(self.url)

    def post(self, body: bytes = b"{}", **headers: str) -> wire.Answer:
        """A legacy POST; headers are named with underscores."""
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return wire.send(self.url, "POST", body, {**wire.JSON_HEADERS, **own})

    def raw(self, head: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and everything that comes for a POST with these header lines."""
        lines = f"POST {urlsplit(self.url).path} HTTP/1.1\r\n{head}\r\n\r\n"
        answer = wire.raw(self.url, lines.encode("latin-1") + body)
        status = re.match(rb"HTTP/1\.1 ([0-9]{3})", answer)
        return int(status[1]) if status else 0, answer


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    directory = tmp_path_factory.mktemp("door")
    with running.raw_upstream(directory) as upstream:
        closed = '[[servers]]\nname = "closed"\naccess = "authenticated"\n\n'
        tables = running.upstream_table("raw", upstream) + running.server_table("raw/*") + closed
        with running.gateway(directory, tables) as gate:
            running.wait_for_tool(gate, "echo_raw")
            token = re.search(r"twa_[\w-]+", gate.log.read_text())
            assert token is not None
            yield Door(gate, token[0])


# ---------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/api/v1/upstreams", "/health", "/ready"])
def test_a_foreign_host_is_misdirected_on_every_route(door: Door, path: str) -> None:
    assert wire.send(door.gate.url + path, headers={"Host": "evil.example"}).status == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:1"])
def test_the_names_of_this_machine_are_served(door: Door, host: str) -> None:
    assert wire.send(f"{door.gate.url}/health", headers={"Host": host}).status == 200


@pytest.mark.parametrize("path", ["/mcp", "/api/v1/upstreams", "/ready"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_a_foreign_origin_is_forbidden_on_every_route(door: Door, path: str, origin: str) -> None:
    assert wire.send(door.gate.url + path, headers={"Origin": origin}).status == 403


def test_a_page_of_this_machine_may_call_and_read_the_session_id(door: Door) -> None:
    origin = "http://localhost:6274"
    client = wire.LegacyClient(door.url, headers={"Origin": origin})

    answer = client.request("ping")

    assert answer.headers["access-control-allow-origin"] == origin
    assert "Mcp-Session-Id" in answer.headers["access-control-expose-headers"]


def test_a_browser_may_ask_before_it_calls(door: Door) -> None:
    wanted = "content-type,mcp-protocol-version,mcp-method,mcp-name,authorization,x-evil"
    headers = {
        "Origin": "http://localhost:6274",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted,
    }

    answer = wire.send(door.url, "OPTIONS", headers=headers)

    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == wanted.removesuffix(",x-evil").replace(",", ", ")


# ---------------------------------------------------------------------------------------- framing


def test_two_lengths_of_one_body_are_refused_and_the_connection_is_closed(door: Door) -> None:
    head = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"

    status, answer = door.raw(head, b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert status == 400
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "head",
    [
        "Content-Type: application/json",
        "Host: localhost\r\nHost: localhost",
        "Host: localhost\r\nContent-Length: 2\r\nContent-Length: 2",
        "Host: localhost\r\nContent-Length: -1",
        "Host: localhost\r\nContent-Length: 0x2",
        "Host: localhost\r\nX-Null: a\x00b",
        "Host: localhost\r\nX Space: a",
        "Host: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ],
)
def test_an_ambiguous_head_is_refused(door: Door, head: str) -> None:
    status, answer = door.raw(head + "\r\nConnection: close", b"{}")

    assert status == 400
    assert b"Traceback" not in answer


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(door: Door) -> None:
    status, _ = door.raw(f"Host: localhost\r\nContent-Length: {BODY_LIMIT + 1}")

    assert status == 413


def test_a_chunked_body_that_grows_too_large_is_refused(door: Door) -> None:
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    head = "Host: localhost\r\nContent-Type: application/json\r\nAccept: */*\r\nTransfer-Encoding: chunked"

    status, _ = door.raw(head, chunk * (BODY_LIMIT // 0x10000 + 1))

    assert status == 413


def test_a_body_of_the_greatest_size_is_taken(door: Door) -> None:
    body = b'{"jsonrpc":"2.0","method":"x"}'

    assert door.post(body + b" " * (BODY_LIMIT - len(body))).code == INVALID_REQUEST


def test_a_compressed_body_is_refused(door: Door) -> None:
    assert door.post(Content_Encoding="gzip").status == 415


@pytest.mark.parametrize(("head", "status"), [("X-Long: " + "a" * 9000, 431), ("X-Many: a\r\n" * 120 + "X: b", 431)])
def test_too_much_head_is_refused(door: Door, head: str, status: int) -> None:
    assert door.raw(f"Host: localhost\r\n{head}\r\nContent-Length: 0")[0] == status


# ---------------------------------------------------------------------------------------- media and methods


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
def test_a_body_that_does_not_say_that_it_is_json_is_refused(door: Door, content_type: str) -> None:
    assert door.post(Content_Type=content_type).status == 415


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "text/html", ""])
def test_a_client_that_cannot_take_both_answers_is_refused(door: Door, accept: str) -> None:
    assert door.post(Accept=accept).status == 406


def test_the_charset_and_the_order_of_media_types_do_not_matter(door: Door) -> None:
    answer = door.post(Content_Type="Application/JSON; charset=utf-8", Accept="text/event-stream, */*;q=0.1")

    assert (answer.status, answer.code) == (400, INVALID_REQUEST)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/mcp"), ("PATCH", "/mcp"), ("HEAD", "/mcp"), ("POST", "/sse"), ("GET", "/messages"), ("DELETE", "/sse")],
)
def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(door: Door, method: str, path: str) -> None:
    answer = wire.send(door.gate.url + path, method, headers=wire.JSON_HEADERS)

    assert answer.status == 405
    assert answer.headers["allow"]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_modern_wire_has_only_posts(door: Door, method: str) -> None:
    headers = {"MCP-Protocol-Version": wire.MODERN, "Accept": "text/event-stream"}

    assert wire.send(door.url, method, headers=headers).status == 405


@pytest.mark.parametrize("path", ["/", "/mcp/", "/servers", "/servers/nobody", "/servers/UPPER/mcp", "/..%2fmcp"])
def test_a_path_that_is_not_there_is_not_found(door: Door, path: str) -> None:
    assert wire.send(door.gate.url + path).status == 404


# ---------------------------------------------------------------------------------------- who


@pytest.mark.parametrize("server", ["closed", "nobody-has-made-this"])
def test_a_server_that_needs_a_credential_looks_like_one_that_is_not_there(door: Door, server: str) -> None:
    answer = wire.ModernClient(f"{door.gate.url}/servers/{server}/mcp").request("tools/list")

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_server_that_needs_a_credential_serves_who_has_one(door: Door) -> None:
    headers = {"Authorization": f"Bearer {door.token}"}

    closed = wire.ModernClient(f"{door.gate.url}/servers/closed/mcp", headers=headers).request("tools/list")
    missing = wire.ModernClient(f"{door.gate.url}/servers/missing/mcp", headers=headers).request("tools/list")

    assert (closed.status, missing.status) == (200, 404)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer twa_wrong"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"X-API-Key": "' OR 1=1 --"}, 401),
        ({"Authorization": "Bearer a", "X-API-Key": "b"}, 400),
    ],
)
def test_a_wrong_credential_is_never_taken_for_none(door: Door, headers: dict[str, str], status: int) -> None:
    answer = wire.ModernClient(door.url, headers=headers).request("tools/list")

    assert answer.status == status
    assert "twa_wrong" not in running.tail(door.gate.log, 1_000_000)


# ---------------------------------------------------------------------------------------- modern headers


@pytest.mark.parametrize(
    "changed",
    [
        {"Mcp-Method": "tools/list"},
        {"Mcp-Method": "TOOLS/CALL"},
        {"Mcp-Name": "result_raw"},
        {"Mcp-Name": "=?base64?!!!?="},
        {"Mcp-Name": ""},
        {"MCP-Protocol-Version": "2027-01-01"},
    ],
)
def test_a_header_that_contradicts_the_body_is_refused(door: Door, changed: dict[str, str]) -> None:
    answer = wire.ModernClient(door.url, headers=changed).request("tools/call", CALL, request_id="mine")

    assert (answer.status, answer.code) == (400, HEADER_MISMATCH)
    assert answer.reply["id"] == "mine"


@pytest.mark.parametrize("missing", ["Mcp-Method", "Mcp-Name"])
def test_a_header_that_is_missing_is_refused(door: Door, missing: str) -> None:
    body, headers = _prepared(CALL)
    del headers[missing]

    answer = wire.send(door.url, "POST", body, headers)

    assert (answer.status, answer.code) == (400, HEADER_MISMATCH)


def test_a_header_that_comes_twice_is_refused(door: Door) -> None:
    body, headers = _prepared(CALL)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join(["Host: localhost", *lines, "Mcp-Name: echo_raw", f"Content-Length: {len(body)}"])

    status, answer = door.raw(head + "\r\nConnection: close", body)

    assert status == 400
    assert b"-32020" in answer


@pytest.mark.parametrize("version", ["2099-01-01", "1.0", ""])
def test_a_version_that_nobody_speaks_is_refused_with_those_spoken_here(door: Door, version: str) -> None:
    meta = {f"{wire.PREFIX}/protocolVersion": version}
    client = wire.ModernClient(door.url, headers={"MCP-Protocol-Version": version})

    answer = client.request("tools/list", request_id=7, meta=meta)

    assert (answer.status, answer.code, answer.reply["id"]) == (400, UNSUPPORTED_VERSION, 7)
    assert wire.MODERN in answer.reply["error"]["data"]["supported"]


@pytest.mark.parametrize(
    "meta",
    [
        {f"{wire.PREFIX}/clientCapabilities": b"[]"},
        {f"{wire.PREFIX}/clientCapabilities": b"null"},
        {f"{wire.PREFIX}/clientInfo": b"1"},
        {f"{wire.PREFIX}/logLevel": b"{}"},
    ],
)
def test_protocol_members_of_the_wrong_type_are_refused(door: Door, meta: dict[str, bytes]) -> None:
    answer = door.modern.request("tools/list", request_id=7, meta=meta)

    assert (answer.status, answer.code, answer.reply["id"]) == (400, INVALID_PARAMS, 7)


@pytest.mark.parametrize(
    "method", ["initialize", "ping", "logging/setLevel", "resources/subscribe", "no/such/method", "", "\u0000"]
)
def test_a_method_that_the_modern_wire_does_not_have_is_not_found(door: Door, method: str) -> None:
    answer = wire.ModernClient(door.url, headers={"Mcp-Method": method.strip("\u0000")}).request(method, request_id=7)

    assert answer.reply["id"] == 7
    assert (answer.status, answer.code) in {(404, METHOD_NOT_FOUND), (400, HEADER_MISMATCH)}


# ---------------------------------------------------------------------------------------- sessions


@pytest.mark.parametrize("session", ["unknown", "x" * 2000, "é", "../../etc/passwd"])
@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_an_unknown_session_is_not_found(door: Door, method: str, session: str) -> None:
    headers = {**wire.JSON_HEADERS, "Mcp-Session-Id": session}
    body = wire.message("ping", {}, 1) if method == "POST" else None

    assert wire.send(door.url, method, body, headers).status == 404


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_request_without_its_session_is_refused(door: Door, method: str) -> None:
    body = wire.message("ping", {}, 1) if method == "POST" else None

    assert wire.send(door.url, method, body, wire.JSON_HEADERS).status == 400


def test_a_session_is_not_found_by_another_principal(door: Door) -> None:
    session = wire.LegacyClient(door.url)
    admin = session.at(door.url, {"Authorization": f"Bearer {door.token}"})

    with admin.listen() as stream:
        assert [admin.request("ping").status, stream.status, admin.end().status] == [404, 404, 404]
    assert session.request("ping").status == 200


def test_a_session_is_not_found_at_another_server(door: Door) -> None:
    session = wire.LegacyClient(door.url)

    assert session.at(f"{door.gate.url}/mcp").request("ping").status == 404


def test_a_session_is_not_found_after_its_end(door: Door) -> None:
    session = wire.LegacyClient(door.url)

    assert 200 <= session.end().status < 300
    assert session.request("ping").status == 404


def test_a_session_with_one_changed_character_is_not_found(door: Door) -> None:
    session = wire.LegacyClient(door.url)
    middle = len(session.session) // 2
    other = "A" if session.session[middle] != "A" else "B"
    changed = session.session[:middle] + other + session.session[middle + 1 :]

    assert session.at(door.url, {"Mcp-Session-Id": changed}).request("ping").status == 404


def test_an_event_id_of_another_session_is_refused(door: Door) -> None:
    mine, other = wire.LegacyClient(door.url), wire.LegacyClient(door.url)
    with other.listen() as stream:
        last = eventually_now(lambda: stream.ids)[-1]

    with mine.listen(last) as replayed:
        assert replayed.status == 400


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_every_legacy_version_is_agreed_to(door: Door, version: str) -> None:
    assert _initialize(door, version) == version


@pytest.mark.parametrize("version", ["1999-01-01", "2026-07-28", "soon"])
def test_a_version_that_a_session_cannot_have_is_answered_with_the_newest_that_it_can(door: Door, version: str) -> None:
    assert _initialize(door, version) == wire.LEGACY


# ---------------------------------------------------------------------------------------- bad messages

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
    log = running.tail(door.gate.log, 1_000_000)

    assert "Traceback" not in log
    assert "unexpectedly" not in log


_META = {f"{wire.PREFIX}/protocolVersion": wire.MODERN, f"{wire.PREFIX}/clientCapabilities": {}}


def _prepared(params: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    body = wire.message("tools/call", {**params, "_meta": _META}, 1)
    return body, wire.modern_headers("tools/call", params)


def _initialize(door: Door, version: str) -> str:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    return str(door.post(wire.message("initialize", params, 1)).result["protocolVersion"])
