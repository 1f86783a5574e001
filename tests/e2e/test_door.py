"""The door of a running gateway: what is foreign, malformed or too much gets a clean refusal on the real socket."""

from collections.abc import Iterator

import fronts
import pytest
import wire
from fronts import Door

INVALID_REQUEST = -32600
BODY_LIMIT = 4 * 1024 * 1024


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with fronts.door(tmp_path_factory.mktemp("door")) as door:
        yield door


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
    wanted = "content-type,mcp-protocol-version,mcp-method,mcp-name,mcp-param-region,authorization"
    headers = {
        "Origin": "http://localhost:6274",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": wanted,
    }

    answer = wire.send(door.url, "OPTIONS", headers=headers)

    assert answer.status == 204
    granted = answer.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert "authorization" in granted  # a wildcard does not cover it (Fetch standard, section 4.9)
    assert "*" in granted or set(wanted.split(",")) <= set(granted)


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
    assert "twa_wrong" not in door.gate.log.read_text()


def test_nothing_of_all_this_was_unexpected(door: Door) -> None:
    assert fronts.complaints(door.gate) == []
