"""What the head of a request says, and what is kept of it where the same head comes again."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from toolway.gateway.head import Head, head_of
from toolway.hookspecs.auth import credential_key
from toolway.hookspecs.serving import FIELDS, KNOWN

MEDIA = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def scope(path: str = "/mcp", *more: tuple[str, str], method: str = "POST", **fields: str) -> dict[str, Any]:
    """A request as the edge passes it on, with a message's media types unless others are given."""
    said = MEDIA | {name.replace("_", "-"): value for name, value in fields.items()}
    headers = [(name.encode(), value.encode("latin-1")) for name, value in (*said.items(), *more)]
    return {"path": path, "method": method, "headers": headers, FIELDS: dict(headers)}


@pytest.mark.parametrize(
    ("path", "root", "server", "leaf"),
    [
        ("/mcp", "", "all", "mcp"),
        ("/servers/team-1/sse", "", "team-1", "sse"),
        ("/messages", "", "all", "messages"),
        ("/gateway/servers/x/mcp", "/gateway", "x", "mcp"),
        ("/servers/Team/mcp", "", "", ""),
        ("/mcp/", "", "", ""),
        ("/api/v1/servers", "", "", ""),
    ],
)
def test_the_path_names_a_server_and_what_of_it(path: str, root: str, server: str, leaf: str) -> None:
    head = head_of({**scope(path), "root_path": root})

    assert (head.server, head.what) == (server, (leaf, "POST") if leaf else ("", ""))


@pytest.mark.parametrize(
    ("fields", "is_modern"),
    [
        ({}, None),
        ({"mcp_protocol_version": "2025-11-25"}, None),
        ({"mcp_protocol_version": "2026-07-28"}, True),
        ({"mcp_protocol_version": "2026-07-28", "mcp_session_id": "x"}, True),
        ({"mcp_protocol_version": "2024-01-01", "mcp_session_id": "x"}, False),
        ({"mcp_protocol_version": "2024-01-01"}, True),
        ({"mcp_protocol_version": "2099-01-01"}, True),
    ],
)
def test_the_era_is_told_where_the_head_tells_it(fields: dict[str, str], is_modern: bool | None) -> None:
    assert head_of(scope(**fields)).is_modern is is_modern


@pytest.mark.parametrize(
    ("content_type", "accept", "status"),
    [
        ("application/json", "*/*", None),
        ("Application/JSON ; charset=utf-8", "text/event-stream, application/json;q=0.9", None),
        ("text/plain", "*/*", 415),
        ("", "*/*", 415),
        ("application/json", "application/json", 406),
        ("application/json", "", 406),
    ],
)
def test_what_cannot_be_a_post_with_a_message_is_told(content_type: str, accept: str, status: int | None) -> None:
    unfit = head_of(scope(content_type=content_type, accept=accept)).unfit

    assert (unfit[0] if unfit else None) == status


@pytest.mark.parametrize("name", ["=?base64?w6Q=?=", "\xe4", "back\\slash"])
def test_a_name_that_needs_decoding_is_left_to_who_decodes(name: str) -> None:
    head = head_of(scope(mcp_method="tools/call", mcp_name=name))

    assert (head.method, head.name, head.quoted) == ("tools/call", "", Raw(b""))


def test_a_plain_name_is_there_as_the_message_has_it() -> None:
    head = head_of(scope("/mcp", ("mcp-name", "echo"), ("x", "1"), ("x", "2"), mcp_method="tools/call"))

    assert (head.name, head.quoted, head.repeats) == ("echo", Raw(b'"echo"'), True)


def test_of_a_credential_there_is_only_its_digest() -> None:
    head = head_of(scope("/servers/x/mcp", authorization="Bearer secret"))

    assert head.credential == credential_key("x", b"Bearer secret", None)
    assert "secret" not in repr(head)
    assert head_of(scope()).credential is None


def test_a_head_that_comes_again_is_read_once() -> None:
    known: dict[Any, Any] = {}

    first, again = (head_of({**scope(mcp_name="echo"), KNOWN: known}) for _ in range(2))

    assert again is first
    assert known == {Head: first}
    assert head_of(scope(mcp_name="echo")) is not first
