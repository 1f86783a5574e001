"""A small HTTP client for the commands, on the standard library so that they start fast."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote
from urllib.request import HTTPErrorProcessor, ProxyHandler, Request, build_opener

from toolway.cli.profile import Profile, Profiles, load_profile, named, options

VERSION = "2026-07-28"
ANSWER_SECONDS = 90.0
"""Without a byte of the answer: the gateway sends something sooner, or discovers for at most a minute."""

FAILED, WRONG_USE, UNREACHABLE, REFUSED, NOT_FOUND, CONFLICT, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130
"""Exit codes."""

EXIT_CODES: dict[str | int, int] = dict.fromkeys(("unauthenticated", "forbidden", 401, 403), REFUSED)
EXIT_CODES |= dict.fromkeys(("not_found", 404), NOT_FOUND)
EXIT_CODES |= dict.fromkeys(("conflict", "precondition_failed", 409, 412), CONFLICT)
"""What the code of the gateway's error, or else the HTTP status, becomes; anything else becomes FAILED."""

Notified = Callable[[dict[str, Any]], None]


class Failure(Exception):
    """A command cannot do its work; `exit_code` says why (see the reference of commands)."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _AnyStatus(HTTPErrorProcessor):
    """An error is an answer, and a redirect too: the token goes to the gateway only."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


_opener = build_opener(ProxyHandler({}), _AnyStatus)


class Client:
    """Talks to one gateway: its REST API and, for calls, its MCP endpoints. All methods raise Failure."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        if not profile.url.startswith(("http://", "https://")):
            raise Failure(f"{profile.url!r} is not an http(s) URL", WRONG_USE)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One request to `/api/v1`; the decoded answer."""
        return self._send(method, f"/api/v1{path}", body, {"accept": "application/json"}, _decoded)

    def pages(self, path: str, **filters: str | None) -> Iterator[dict[str, Any]]:
        """All objects of a collection, page by page."""
        query = "".join(f"&{key}={quote(value, safe='')}" for key, value in filters.items() if value)
        cursor: str | None = ""
        while cursor is not None:
            page = self.api("GET", f"{path}?cursor={quote(cursor, safe='')}{query}")
            yield from page["items"]
            cursor = page["next_cursor"]

    def download(self, path: str, write: Callable[[bytes], object]) -> None:
        """Give the answer to `write`, piece by piece."""
        self._send("GET", f"/api/v1{path}", None, {}, lambda response: _copied(response, write))

    def mcp(self, server: str, method: str, params: dict[str, Any], notified: Notified) -> Any:
        """The result of one MCP request in the newest version; `notified` gets what comes before it."""
        from toolway.mcp.headers import encode_header_value, mcp_param_headers

        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "toolway-cli", "version": "1"},
            "progressToken": 1,
        }
        headers = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
        }
        if name := params.get("name") or params.get("uri"):
            headers["mcp-name"] = encode_header_value(name)
        if method == "tools/call":
            headers |= mcp_param_headers(self._mirrored(server, params["name"]), params["arguments"])
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
        return self._send("POST", mcp_path(server), message, headers, lambda response: _result(response, notified))

    def _mirrored(self, server: str, tool: str) -> Any:
        """Which arguments of a tool are mirrored in headers."""
        known: dict[str, Any] = {}
        page: dict[str, str] | None = {}
        while tool not in known and page is not None:
            page = learn(known, self.mcp(server, "tools/list", page, lambda _: None))
        return known.get(tool, {})

    def _send(self, method: str, path: str, body: Any, headers: dict[str, str], read: Callable[[Any], Any]) -> Any:
        """What `read` makes of the answer, whatever its status."""
        if options.watch and method != "GET":
            raise Failure("--watch is for commands that only look", WRONG_USE)
        if self.profile.token:
            headers["authorization"] = f"Bearer {self.profile.token}"
        if body is not None:
            headers["content-type"] = "application/json"
        payload = None if body is None else json.dumps(body).encode()
        request = Request(self.profile.url + path, payload, headers, method=method)  # noqa: S310 - checked above
        try:
            with _opener.open(request, timeout=ANSWER_SECONDS) as response:
                return read(response)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            where = f"{self.profile.url} does not answer ({getattr(reason, 'strerror', None) or reason})"
            raise Failure(f"{where}; is the gateway running? start it with: toolway serve", UNREACHABLE) from None


def client() -> Client:
    """The client for the chosen gateway; raises Failure when a profile is named that is not saved."""
    if name := named():
        known_profiles(name)
    return Client(load_profile())


def known_profiles(name: str) -> Profiles:
    """All that are saved, with this one among them."""
    known = Profiles.load()
    if name not in known.saved:
        raise Failure(f"there is no profile {name!r}; save one with: toolway login --profile {name}", NOT_FOUND)
    return known


def learn(mirrored: dict[str, Any], page: dict[str, Any]) -> dict[str, str] | None:
    """Add to `mirrored` which arguments of the tools on this page of `tools/list` are; the params for the next page."""
    from toolway.mcp.headers import x_mcp_header_map

    mirrored |= {tool["name"]: x_mcp_header_map(tool.get("inputSchema")) for tool in page.get("tools", ())}
    return {"cursor": page["nextCursor"]} if page.get("nextCursor") is not None else None


def mcp_path(server: str) -> str:
    """Where a virtual server is."""
    return "/mcp" if server == "all" else f"/servers/{quote(server, safe='')}/mcp"


def _decoded(response: Any) -> Any:
    content = response.read()
    if response.status >= 300:
        raise failure(response.status, content)
    try:
        return json.loads(content) if content else None
    except ValueError:
        raise Failure(f"{response.url} answers without JSON; is it a Toolway gateway?") from None


def _copied(response: Any, write: Callable[[bytes], object]) -> None:
    if response.status >= 300:
        raise failure(response.status, response.read())
    for line in response:
        write(line)


def _result(response: Any, notified: Notified) -> Any:
    """The result in a JSON answer, or in the message that ends a stream."""
    is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
    for data in (line[6:] for line in response if line.startswith(b"data: {")) if is_stream else (response.read(),):
        message = _object(data)
        if "result" in message:
            return message["result"]
        if "method" not in message:
            raise failure(response.status, data)
        notified(message)
    raise Failure("the gateway closed the stream before the result")


def _object(content: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def failure(status: int, content: bytes) -> Failure:
    """What a problem document or a JSON-RPC error says."""
    problem = _object(content)
    message, code = problem.get("detail") or f"the gateway answered {status}", problem.get("code")
    if isinstance(error := problem.get("error"), dict):
        data = error.get("data")
        message = f"{error.get('message')} (code {error.get('code')})"
        code = data.get("code") if isinstance(data, dict) else None
    hint = "; log in with: toolway login" if status == 401 else ""
    return Failure(f"{message}{hint}", EXIT_CODES.get(code or status, FAILED))
