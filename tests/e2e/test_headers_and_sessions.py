"""What a request must say besides its body: the headers of the modern wire, the session of the legacy one."""

from collections.abc import Iterator
from typing import Any

import fronts
import pytest
import wire
from fronts import Door

from toolway_testing.polling import eventually_now

METHOD_NOT_FOUND, INVALID_PARAMS, HEADER_MISMATCH, UNSUPPORTED_VERSION = -32601, -32602, -32020, -32022
CALL = {"name": "echo_raw", "arguments": {}}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with fronts.door(tmp_path_factory.mktemp("door")) as door:
        yield door


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


def test_the_end_of_a_session_has_no_body_and_no_length(door: Door) -> None:
    ended = wire.LegacyClient(door.url).end()

    assert (ended.status, ended.body) == (204, b"")
    assert "content-length" not in ended.headers, "RFC 9110 section 8.6"


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


def test_nothing_of_all_this_was_unexpected(door: Door) -> None:
    assert fronts.complaints(door.gate) == []


_META = {f"{wire.PREFIX}/protocolVersion": wire.MODERN, f"{wire.PREFIX}/clientCapabilities": {}}


def _prepared(params: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    body = wire.message("tools/call", {**params, "_meta": _META}, 1)
    return body, wire.modern_headers("tools/call", params)


def _initialize(door: Door, version: str) -> str:
    params = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    return str(door.post(wire.message("initialize", params, 1)).result["protocolVersion"])
