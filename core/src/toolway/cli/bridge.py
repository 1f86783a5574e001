"""`toolway stdio`: carries a client that can only start a command to a server of the gateway, in either era."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable

import aiohttp
import msgspec
from msgspec import UNSET, Raw

from toolway.bundled.upstreams.channel import LISTEN, raw
from toolway.bundled.upstreams.repeat import Tasks, repeat
from toolway.bundled.upstreams.wire import COMMON
from toolway.cli.client import failure, learn
from toolway.errors import ToolwayError, UpstreamProtocol
from toolway.hookspecs.routing import RpcFault
from toolway.mcp.errors import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from toolway.mcp.headers import NAMED, HeaderMap, encode_header_value, mcp_param_headers
from toolway.mcp.messages import Envelope, NotAMessage, decode, encode_error, encode_request, split_meta
from toolway.mcp.sse import SseParser
from toolway.mcp.versions import PROTOCOL_VERSION_KEY

MAX_LINE = 64 * 1024 * 1024
LAST_SECONDS = 10.0
"""How long answers are waited for when the client has closed its end."""

Write = Callable[[bytes], None]


class Bridge:
    """Reads JSON-RPC lines, sends each as a POST, writes what comes back as lines."""

    def __init__(self, url: str, token: str | None, http: aiohttp.ClientSession, write: Write) -> None:
        self._url = url
        self._http = http
        self._write = write
        self._headers = {**COMMON["POST"], **({"authorization": f"Bearer {token}"} if token else {})}
        self._session: dict[str, str] = {}
        self._running: dict[int | str, asyncio.Task[None]] = {}
        self._unanswered: set[int | str] = set()
        self._tasks = Tasks()
        self._parameters: dict[str, HeaderMap] = {}
        self._learning = asyncio.Lock()

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Until the client closes its end and has its answers; then the session is deleted."""
        try:
            async for line in lines:
                if line.strip():
                    await self._take(line.strip())
            await self._end()
        finally:
            await self._tasks.close()
            if self._session:
                async with self._http.delete(self._url, headers={**self._headers, **self._session}):
                    pass

    async def _end(self) -> None:
        """Wait for what was asked, except for streams that have no end."""
        asked = {request_id: task for request_id, task in self._running.items() if task.get_name() != LISTEN}
        if asked:
            await asyncio.wait(asked.values(), timeout=LAST_SECONDS)
        for request_id in self._unanswered & asked.keys():
            self._write(encode_error(request_id, RpcFault(INTERNAL_ERROR, "the input ended before the answer came")))

    async def _take(self, line: bytes) -> None:
        try:
            envelope = decode(line)
        except RpcError as error:
            request_id = error.request_id if isinstance(error, NotAMessage) else None
            self._write(encode_error(request_id, RpcFault(error.rpc_code, error.message)))
            return
        _, meta = split_meta(envelope.members)
        if envelope.method == "notifications/cancelled" and self._cancel(envelope.members.get("requestId", b"null")):
            return
        modern = meta if meta is not None and PROTOCOL_VERSION_KEY in meta else None
        request_id = envelope.id if isinstance(envelope.id, int | str) and envelope.method is not UNSET else None
        task = self._tasks.start(self._request(line, envelope, request_id, modern))
        if request_id is not None:
            task.set_name(str(envelope.method))
            self._unanswered.add(request_id)
            self._running[request_id] = task
            task.add_done_callback(lambda _: self._running.pop(request_id, None))
        if modern is None and (envelope.method == "initialize" or request_id is None):
            await asyncio.wait({task})  # what comes next needs the session, or may depend on the order
        if envelope.method == "notifications/initialized":
            self._tasks.start(repeat(self._listen, "the event stream broke"))

    def _cancel(self, raw: bytes) -> bool:
        """Wait no more for an answer; whether that is all, because without a session the closed request says it."""
        request_id = msgspec.json.decode(raw)
        if isinstance(request_id, int | str):
            self._unanswered.discard(request_id)
            if not self._session and request_id in self._running:
                self._running[request_id].cancel()
        return not self._session

    async def _request(
        self, line: bytes, envelope: Envelope, request_id: int | str | None, meta: dict[str, Raw] | None
    ) -> None:
        try:
            own = self._session if meta is None else await self._modern_headers(envelope, meta)
            async with self._http.post(self._url, data=line, headers={**self._headers, **own}) as response:
                if "mcp-session-id" in response.headers:
                    self._session = {"mcp-session-id": response.headers["mcp-session-id"]}
                if response.status >= 400:
                    fault = _fault_in(await response.read(), response.status)
                    print(f"toolway stdio: the gateway answered {response.status}: {fault.message}", file=sys.stderr)
                else:
                    fault = RpcFault(INTERNAL_ERROR, "the gateway ended the stream without an answer")
                    await self._await_reply(request_id, await self._copy(response))
        except msgspec.DecodeError:
            fault = RpcFault(INVALID_PARAMS, "params has a name or protocol keys of the wrong type")
        except (aiohttp.ClientError, ToolwayError) as error:
            print(f"toolway stdio: {error}", file=sys.stderr)
            fault = RpcFault(INTERNAL_ERROR, "the gateway cannot be reached")
        if request_id in self._unanswered:
            self._unanswered.remove(request_id)
            self._write(encode_error(request_id, fault))

    async def _await_reply(self, request_id: int | str | None, event_id: str | None) -> None:
        """Go on with a stream that ended before the reply, from its last event, as long as more comes."""
        while request_id in self._unanswered and self._session and event_id is not None:
            headers = {**self._headers, **self._session, **COMMON["GET"], "last-event-id": event_id}
            async with self._http.get(self._url, headers=headers) as response:
                resumed = await self._copy(response) if response.status == 200 else None
            event_id = resumed if resumed != event_id else None

    async def _listen(self) -> bool:
        """The stream of what belongs to no request; whether to open it again."""
        try:
            async with self._http.get(
                self._url, headers={**self._headers, **self._session, **COMMON["GET"]}
            ) as response:
                if response.status == 200:
                    await self._copy(response)
                return response.status == 200
        except aiohttp.ClientError as error:
            print(f"toolway stdio: the event stream broke ({type(error).__name__})", file=sys.stderr)
            return True

    async def _copy(self, response: aiohttp.ClientResponse) -> str | None:
        """Hand on every message; the id of the last event of a stream."""
        if response.content_type != "text/event-stream":
            if body := await response.read():
                self._hand_on(body)
            return None
        parser, last = SseParser(), None
        async for chunk in response.content.iter_any():
            for event in parser.feed(chunk):
                last = event.id or last
                if event.data:
                    self._hand_on(event.data)
        return last

    def _hand_on(self, message: bytes) -> None:
        try:
            said = msgspec.json.decode(message, type=Envelope)
        except msgspec.DecodeError:
            raise UpstreamProtocol("the gateway sent what is no JSON-RPC message") from None
        self._write(message)
        if said.method is UNSET and isinstance(said.id, int | str):
            self._unanswered.discard(said.id)

    async def _modern_headers(self, envelope: Envelope, meta: dict[str, Raw]) -> dict[str, str]:
        """What mirrors the body (MCP 2026-07-28, transports)."""
        method, params = str(envelope.method), envelope.members
        headers = {"mcp-protocol-version": _text(meta[PROTOCOL_VERSION_KEY]), "mcp-method": encode_header_value(method)}
        if (key := NAMED.get(method)) in params:
            headers["mcp-name"] = _text(params[key])
        if method == "tools/call":
            name = msgspec.json.decode(params.get("name", b'""'), type=str)
            async with self._learning:
                if name not in self._parameters:
                    await self._learn(meta, headers["mcp-protocol-version"])
            if wanted := self._parameters.get(name):
                headers |= mcp_param_headers(wanted, msgspec.json.decode(params.get("arguments", b"{}")))
        return headers

    async def _learn(self, meta: dict[str, Raw], version: str) -> None:
        """Which arguments of each tool are mirrored in headers: from the server's own list."""
        headers = {**self._headers, "mcp-protocol-version": version, "mcp-method": "tools/list"}
        page: dict[str, str] | None = {}
        while page is not None:
            params = {key: raw(value) for key, value in {**page, "_meta": meta}.items()}
            body = encode_request("toolway-stdio", "tools/list", params)
            async with self._http.post(self._url, data=body, headers=headers) as response:
                page = learn(self._parameters, msgspec.json.decode(await response.read()).get("result", {}))


def _text(value: Raw) -> str:
    """A JSON string as a header value; raises msgspec.DecodeError when it is none."""
    return encode_header_value(msgspec.json.decode(value, type=str))


def _fault_in(body: bytes, status: int) -> RpcFault:
    """Why the gateway refused: its JSON-RPC error, whose id it may not have known, or what else it says."""
    try:
        error = decode(body).error
    except RpcError:
        error = None
    return error if isinstance(error, RpcFault) else RpcFault(INTERNAL_ERROR, str(failure(status, body)))


async def standard_input() -> AsyncIterator[bytes]:
    """Lines of this process's standard input, which may be a file: an event loop cannot wait for those."""
    if not (os.isatty(sys.stdin.fileno()) or _is_pipe(os.fstat(sys.stdin.fileno()).st_mode)):
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            yield line
        return
    reader = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line


def _is_pipe(mode: int) -> bool:
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def write_line(message: bytes) -> None:
    """One message to standard output; line breaks inside JSON text are white space."""
    try:
        sys.stdout.buffer.write(message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:  # nobody reads any more, and Python would complain of the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def run_bridge(url: str, token: str | None) -> None:
    """Serve standard input and output until the client leaves."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
        await Bridge(url, token, http, write_line).run(standard_input())
