"""Both wires by hand: requests whose bytes the test chooses, and answers as they came.

Standard library only, and blocking; a `Stream` is read by a thread of its own. In every `params` and `arguments` a
value of type bytes is JSON text that goes out as it is.
"""

import base64
import contextlib
import http.client
import itertools
import json
import re
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from toolway_testing.polling import eventually_now

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
SECONDS = 20.0
PREFIX = "io.modelcontextprotocol"
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}

Json = dict[str, Any]
Headers = Mapping[str, str]


def encode(value: Any) -> bytes:
    """JSON text; bytes inside stand for themselves."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Mapping):
        return b"{%s}" % b",".join(b"%s:%s" % (encode(key), encode(entry)) for key, entry in value.items())
    return json.dumps(value, ensure_ascii=False).encode()


def message(method: str, params: Mapping[str, Any], request_id: int | str | None = None) -> bytes:
    """A request, or without an id a notification."""
    identity = {} if request_id is None else {"id": request_id}
    return encode({"jsonrpc": "2.0", **identity, "method": method, "params": params})


@dataclass(frozen=True)
class Answer:
    """A complete HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def messages(self) -> list[bytes]:
        """The JSON-RPC messages in it, byte for byte: of an event stream, or the one that is the body."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            return [self.body]
        events = re.split(rb"\r\n\r\n|\n\n|\r\r", self.body)
        return [data for event in events if (data := _data(event)).strip()]

    @property
    def reply(self) -> Json:
        """The last message."""
        reply: Json = json.loads(self.messages[-1])
        return reply

    @property
    def result(self) -> Json:
        """The result.

        Raises:
            AssertionError: it is an error; the message has it.
        """
        if "result" not in self.reply:
            raise AssertionError(f"{self.status}: {self.body!r}")
        result: Json = self.reply["result"]
        return result

    @property
    def code(self) -> int:
        """The code of the error.

        Raises:
            AssertionError: it is no error.
        """
        if "error" not in self.reply:
            raise AssertionError(f"{self.status}: {self.body!r}")
        return int(self.reply["error"]["code"])

    @property
    def text(self) -> str:
        """The text of a tool result's first content block."""
        return str(self.result["content"][0]["text"])


def send(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Headers | None = None,
    seconds: float = SECONDS,
) -> Answer:
    """One request on a connection of its own, which waits for at most so long."""
    connection = connect(url, seconds)
    with contextlib.closing(connection):
        connection.request(method, _target(url), body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def raw(url: str, request: bytes) -> bytes:
    """What comes back for these bytes until the other side closes; framing is the caller's affair."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 80)), SECONDS) as connection:
        connection.sendall(request)
        pieces = []
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def connect(url: str, seconds: float = SECONDS) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=seconds)
    connection.connect()
    return connection


class Stream:
    """A response read by a thread as it comes; `close` goes away as a client does that lost interest."""

    def __init__(self, url: str, method: str, body: bytes | None, headers: Headers) -> None:
        self.messages: list[Json] = []
        self.ids: list[str] = []
        self.status = 0
        self.is_over = False
        self._connection = connect(url)
        self._socket: socket.socket = self._connection.sock
        self._thread = threading.Thread(target=self._read, args=(method, _target(url), body, headers), daemon=True)
        self._thread.start()

    def wait(self, wanted: Callable[[Json], Any], seconds: float = SECONDS) -> Json:
        """The first message that is wanted, once it is there."""
        return eventually_now(lambda: next(filter(wanted, list(self.messages)), None), seconds)

    def request(self, method: str) -> Json:
        """The first message of that method, once it is there."""
        return self.wait(lambda each: each.get("method") == method)

    def reply(self, seconds: float = SECONDS) -> Json:
        """The response, once it is there."""
        return self.wait(lambda each: "method" not in each, seconds)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)
        self._connection.close()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self, method: str, target: str, body: bytes | None, headers: Headers) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            self._connection.request(method, target, body, dict(headers))
            response = self._connection.getresponse()
            self.status = response.status
            if response.headers.get("content-type", "").startswith("text/event-stream"):
                for event in _events(response):
                    self._take(event)
            elif content := response.read():
                self.messages.append(json.loads(content))
        self.is_over = True

    def _take(self, event: bytes) -> None:
        self.ids += [line[4:].decode() for line in event.split(b"\n") if line.startswith(b"id: ")]
        if data := _data(event).strip():
            self.messages.append(json.loads(data))


class ModernClient:
    """A client of 2026-07-28; `headers` go with every request."""

    def __init__(self, url: str, capabilities: Json | None = None, headers: Headers | None = None) -> None:
        self.url = url
        self._capabilities = capabilities or {}
        self._headers = headers or {}

    def request(
        self, method: str, params: Mapping[str, Any] = {}, request_id: int | str = 1, meta: Mapping[str, Any] = {}
    ) -> Answer:
        """Send and wait; `meta` goes into `_meta`."""
        body, headers = self._prepared(method, params, request_id, meta)
        return send(self.url, "POST", body, headers)

    def begin(
        self, method: str, params: Mapping[str, Any] = {}, request_id: int | str = 1, meta: Mapping[str, Any] = {}
    ) -> Stream:
        """Send without waiting."""
        body, headers = self._prepared(method, params, request_id, meta)
        return Stream(self.url, "POST", body, headers)

    def call(self, tool: str, arguments: Any = b"{}", request_id: int | str = 1, **more: Any) -> Answer:
        """`tools/call`; `more` are further members of `params`."""
        return self.request("tools/call", {"name": tool, "arguments": arguments, **more}, request_id)

    def listen(self, request_id: int | str = "listening", **notifications: Any) -> Stream:
        """A subscription that the server has acknowledged."""
        stream = self.begin("subscriptions/listen", {"notifications": notifications}, request_id)
        stream.request("notifications/subscriptions/acknowledged")
        return stream

    def answer(self, asked: Answer, tool: str, arguments: Any, response: Json, request_id: int | str = 2) -> Answer:
        """Retry a call with the same response to each of its input requests."""
        responses = dict.fromkeys(asked.result["inputRequests"], response)
        state = asked.result["requestState"]
        return self.call(tool, arguments, request_id, inputResponses=responses, requestState=state)

    def _prepared(
        self, method: str, params: Mapping[str, Any], request_id: int | str, meta: Mapping[str, Any]
    ) -> tuple[bytes, Headers]:
        own = {
            f"{PREFIX}/protocolVersion": MODERN,
            f"{PREFIX}/clientCapabilities": self._capabilities,
            f"{PREFIX}/clientInfo": {"name": "wire", "version": "1"},
        }
        body = message(method, {**params, "_meta": {**own, **meta}}, request_id)
        return body, {**modern_headers(method, params), **self._headers}


class LegacyClient:
    """A client with a session, of 2025-11-25; `at` reaches the same session elsewhere."""

    def __init__(self, url: str, capabilities: Json | None = None, headers: Headers | None = None) -> None:
        self.url = url
        self._headers: Headers = {**JSON_HEADERS, **(headers or {})}
        self._ids = itertools.count(1000)
        params = {
            "protocolVersion": LEGACY,
            "capabilities": capabilities or {},
            "clientInfo": {"name": "wire", "version": "1"},
        }
        opened = send(url, "POST", message("initialize", params, 0), self._headers)
        self.initialized = opened.result
        self.session = str(opened.headers["mcp-session-id"])
        self._headers = {**self._headers, "Mcp-Session-Id": self.session, "MCP-Protocol-Version": LEGACY}
        self.notify("notifications/initialized")

    def at(self, url: str, headers: Headers | None = None) -> "LegacyClient":
        """The same session at another URL, or with further headers."""
        other = object.__new__(LegacyClient)
        other.__dict__.update(self.__dict__, url=url, _headers={**self._headers, **(headers or {})})
        return other

    def post(self, body: bytes) -> Answer:
        return send(self.url, "POST", body, self._headers)

    def notify(self, method: str, params: Mapping[str, Any] = {}) -> Answer:
        return self.post(message(method, params))

    def request(
        self,
        method: str,
        params: Mapping[str, Any] = {},
        request_id: int | str | None = None,
        meta: Mapping[str, Any] = {},
    ) -> Answer:
        """Send and wait; `meta` becomes `_meta`."""
        return self.post(self._prepared(method, params, request_id, meta))

    def begin(
        self,
        method: str,
        params: Mapping[str, Any] = {},
        request_id: int | str | None = None,
        meta: Mapping[str, Any] = {},
    ) -> Stream:
        """Send without waiting."""
        return Stream(self.url, "POST", self._prepared(method, params, request_id, meta), self._headers)

    def call(self, tool: str, arguments: Any = b"{}", request_id: int | str | None = None) -> Answer:
        return self.request("tools/call", {"name": tool, "arguments": arguments}, request_id)

    def begin_call(self, tool: str, arguments: Any = b"{}", request_id: int | str | None = None) -> Stream:
        return self.begin("tools/call", {"name": tool, "arguments": arguments}, request_id)

    def respond(self, request: Json, result: Json) -> Answer:
        """Answer a request of the server."""
        return self.post(encode({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    def listen(self, last_event_id: str | None = None) -> Stream:
        """The session's GET stream, open, or the rest of a broken one."""
        headers = {**self._headers, "Accept": "text/event-stream"}
        stream = Stream(self.url, "GET", None, headers | ({"Last-Event-ID": last_event_id} if last_event_id else {}))
        eventually_now(lambda: stream.status)
        return stream

    def end(self) -> Answer:
        return send(self.url, "DELETE", None, self._headers)

    def _prepared(
        self, method: str, params: Mapping[str, Any], request_id: int | str | None, meta: Mapping[str, Any]
    ) -> bytes:
        own = {"_meta": meta} if meta else {}
        return message(method, {**params, **own}, next(self._ids) if request_id is None else request_id)


def modern_headers(method: str, params: Mapping[str, Any] = {}) -> dict[str, str]:
    """What a modern request must carry besides its body."""
    headers = {**JSON_HEADERS, "MCP-Protocol-Version": MODERN, "Mcp-Method": method}
    named = params.get(NAMED.get(method, ""))
    return headers | ({"Mcp-Name": _header(named)} if isinstance(named, str) else {})


def _events(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The events of a stream whose lines end with a line feed, as they become complete."""
    event = b""
    for line in lines:
        if line.strip():
            event += line
        elif event:
            yield event
            event = b""


def _data(event: bytes) -> bytes:
    """What the `data` lines of a server-sent event say together (HTML standard, section 9.2.6)."""
    lines = re.split(rb"\r\n|\n|\r", event)
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


def _header(value: str) -> str:
    if re.fullmatch(r"[\x21-\x7e]*", value) and not value.startswith("=?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
