"""A small HTTP client for the commands, on the standard library so that they start fast."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from toolway.cli.profile import Profile

VERSION = "2026-07-28"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 900.0


class Failure(Exception):
    """The gateway refused or cannot be reached; `exit_code` says which (see `docs/reference/commands`)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


UNREACHABLE, REFUSED, NOT_FOUND, FAILED = 3, 4, 5, 1


class Client:
    """Talks to one gateway: its REST API and, for calls, its MCP endpoints."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._parts = urlsplit(profile.url)
        if self._parts.scheme not in ("http", "https") or not self._parts.hostname:
            raise Failure(f"{profile.url!r} is not an http(s) URL", 2)

    def api(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """One request to `/api/v1`; the decoded answer. Raises Failure."""
        payload = None if body is None else json.dumps(body).encode()
        response = self._send(method, f"/api/v1{path}", payload, {"accept": "application/json", **(headers or {})})
        content = response.read()
        if response.status >= 400:
            raise _failure(response.status, content)
        return json.loads(content) if content else None

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """All objects of a collection, page by page."""
        cursor = ""
        while True:
            mark = "&" if "?" in path else "?"
            page = self.api("GET", path + (f"{mark}cursor={quote(cursor)}" if cursor else ""))
            yield from page["items"]
            cursor = page.get("next_cursor") or ""
            if not cursor:
                return

    def mcp(
        self, server: str, method: str, params: dict[str, Any], notified: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """One MCP request in the newest version; `notified` gets what comes before the result. Raises Failure."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "toolway-cli", "version": "1"},
            "progressToken": 1,
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
        }
        if name := params.get("name", params.get("uri")):
            headers["mcp-name"] = _header_value(name)
        path = "/mcp" if server == "all" else f"/servers/{quote(server)}/mcp"
        response = self._send("POST", path, json.dumps(message).encode(), headers)
        answer = _last_message(response, notified)
        if "error" in answer:
            raise Failure(f"{answer['error']['message']} (code {answer['error']['code']})", FAILED)
        if "result" not in answer:
            raise _failure(response.status, json.dumps(answer).encode())
        result: dict[str, Any] = answer["result"]
        return result

    def _send(self, method: str, path: str, payload: bytes | None, headers: dict[str, str]) -> http.client.HTTPResponse:
        if self.profile.token:
            headers["authorization"] = f"Bearer {self.profile.token}"
        if payload is not None:
            headers["content-type"] = "application/json"
        connection = self._connection()
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER_SECONDS)
            connection.request(method, self._parts.path.rstrip("/") + path, body=payload, headers=headers)
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            reason = (
                f"{self.profile.url} does not answer ({error}); is the gateway running? start it with: toolway serve"
            )
            raise Failure(reason, UNREACHABLE) from None

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)


def _last_message(response: http.client.HTTPResponse, notified: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        content = response.read()
        try:
            answer: dict[str, Any] = json.loads(content)
        except ValueError:
            raise _failure(response.status, content) from None
        return answer
    for line in response:
        if line.startswith(b"data: ") and line[6:].strip():
            message: dict[str, Any] = json.loads(line[6:])
            if "method" not in message:
                return message
            notified(message)
    raise Failure("the gateway closed the stream before the result", FAILED)


def _failure(status: int, content: bytes) -> Failure:
    try:
        problem = json.loads(content)
        message = problem.get("detail") or problem.get("error", {}).get("message") or problem.get("title")
    except (ValueError, AttributeError):
        message = None
    exit_code = {401: REFUSED, 403: REFUSED, 404: NOT_FOUND}.get(status, FAILED)
    hint = "; log in with: toolway login --token TOKEN" if status == 401 else ""
    return Failure(f"{message or f'the gateway answered {status}'}{hint}", exit_code)


def _header_value(value: str) -> str:
    from toolway.mcp.headers import encode_header_value

    return encode_header_value(value)
