"""`toolway stdio`: carries a client that can only start a command to a server of the gateway, in either era."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw

from toolway.errors import ToolwayError
from toolway.hookspecs.routing import RpcFault
from toolway.mcp.errors import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from toolway.mcp.headers import encode_header_value, mcp_param_headers, x_mcp_header_map
from toolway.mcp.messages import Envelope, NotAMessage, decode, encode_error, encode_request, split_meta
from toolway.mcp.sse import SseParser
from toolway.mcp.versions import PROTOCOL_VERSION_KEY

MAX_LINE = 64 * 1024 * 1024
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


class Bridge:
    """Reads JSON-RPC lines, sends each as a POST, writes what comes back as lines."""

    def __init__(self, url: str, token: str | None, http: aiohttp.ClientSession, write: Any) -> None:
        self._url = url
        self._http = http
        self._write = write
        self._headers = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        self._session: dict[str, str] = {}
        self._running: dict[int | str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._parameters: dict[str, Any] = {}
        self._learning = asyncio.Lock()

    async def run(self, lines: AsyncIterator[bytes]) -> None:
        """Until the client closes its end; then the session is deleted."""
        try:
            async for line in lines:
                if line.strip():
                    await self._take(line)
        finally:
            for task in self._tasks:
                task.cancel()
            if "mcp-session-id" in self._session:
                async with self._http.delete(self._url, headers={**self._headers, **self._session}):
                    pass

    async def _take(self, line: bytes) -> None:
        try:
            envelope = decode(line.strip())
        except RpcError as error:
            request_id = error.request_id if isinstance(error, NotAMessage) else None
            self._write(encode_error(request_id, RpcFault(error.rpc_code, error.message)))
            return
        _, meta = split_meta(envelope.members)
        if envelope.method == "notifications/cancelled" and not self._session:
            self._cancel(envelope.members)
        elif meta is not None and PROTOCOL_VERSION_KEY in meta:
            self._start(self._request(line, envelope, meta))
        elif envelope.method == "initialize" or not isinstance(envelope.id, int | str):
            await self._request(line, envelope)
            if envelope.method == "notifications/initialized":
                self._start(self._listen())
        else:
            self._start(self._request(line, envelope))

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, params: dict[str, Raw]) -> None:
        request_id = msgspec.json.decode(params.get("requestId", Raw(b"null")))
        if isinstance(request_id, int | str) and (task := self._running.get(request_id)) is not None:
            task.cancel()

    async def _request(self, line: bytes, envelope: Envelope, meta: dict[str, Raw] | None = None) -> None:
        request_id = (
            envelope.id if isinstance(envelope.id, int | str) and envelope.method is not msgspec.UNSET else None
        )
        task = asyncio.current_task()
        if request_id is not None and task is not None:
            self._running[request_id] = task
        try:
            headers = self._session if meta is None else await self._modern_headers(envelope, meta)
            async with self._http.post(self._url, data=line.strip(), headers={**self._headers, **headers}) as response:
                if "mcp-session-id" in response.headers:
                    self._session = {"mcp-session-id": response.headers["mcp-session-id"]}
                await self._copy(response, request_id)
        except msgspec.DecodeError:
            self._fail(request_id, RpcFault(INVALID_PARAMS, "params has a name or protocol keys of the wrong type"))
        except (aiohttp.ClientError, ToolwayError) as error:
            print(f"toolway stdio: {error}", file=sys.stderr)
            self._fail(request_id, RpcFault(INTERNAL_ERROR, "the gateway cannot be reached"))
        finally:
            if request_id is not None:
                self._running.pop(request_id, None)

    def _fail(self, request_id: int | str | None, fault: RpcFault) -> None:
        if request_id is not None:
            self._write(encode_error(request_id, fault))

    async def _listen(self) -> None:
        headers = {**self._headers, **self._session, "accept": "text/event-stream"}
        while True:
            try:
                async with self._http.get(self._url, headers=headers) as response:
                    if response.status != 200:
                        return
                    await self._copy(response)
            except aiohttp.ClientError as error:
                print(
                    f"toolway stdio: the event stream broke ({type(error).__name__}), connecting again", file=sys.stderr
                )
            await asyncio.sleep(1.0)

    async def _copy(self, response: aiohttp.ClientResponse, request_id: int | str | None = None) -> None:
        if response.content_type == "text/event-stream":
            parser = SseParser()
            async for chunk in response.content.iter_any():
                for event in parser.feed(chunk):
                    if event.data:
                        self._write(event.data)
        elif response.status < 400:
            if body := await response.read():
                self._write(body)
        else:
            print(f"toolway stdio: the gateway answered {response.status}", file=sys.stderr)
            self._fail(request_id, _fault_in(await response.read(), response.status))

    async def _modern_headers(self, envelope: Envelope, meta: dict[str, Raw]) -> dict[str, str]:
        method, params = str(envelope.method), envelope.members
        headers = {
            "mcp-protocol-version": encode_header_value(msgspec.json.decode(meta[PROTOCOL_VERSION_KEY], type=str)),
            "mcp-method": encode_header_value(method),
        }
        if (key := NAMED.get(method)) is not None and key in params:
            headers["mcp-name"] = encode_header_value(msgspec.json.decode(params[key], type=str))
        if method == "tools/call":
            headers.update(await self._mirrored(params, meta, headers))
        return headers

    async def _mirrored(self, params: dict[str, Raw], meta: dict[str, Raw], headers: dict[str, str]) -> dict[str, str]:
        name = msgspec.json.decode(params.get("name", Raw(b'""')), type=str)
        async with self._learning:
            if name not in self._parameters:
                await self._learn(meta, headers)
        wanted = self._parameters.get(name)
        if not wanted:
            return {}
        return dict(mcp_param_headers(wanted, msgspec.json.decode(params.get("arguments", Raw(b"{}")))))

    async def _learn(self, meta: dict[str, Raw], headers: dict[str, str]) -> None:
        """Which arguments of each tool are mirrored in headers: from the server's own list."""
        cursor: str | None = None
        while True:
            page = {
                "_meta": Raw(msgspec.json.encode(meta)),
                **({"cursor": Raw(msgspec.json.encode(cursor))} if cursor else {}),
            }
            own = {**self._headers, "mcp-protocol-version": headers["mcp-protocol-version"], "mcp-method": "tools/list"}
            body = encode_request("toolway-stdio", "tools/list", page)
            async with self._http.post(self._url, data=body, headers=own) as response:
                result = msgspec.json.decode(await response.read()).get("result", {})
            for tool in result.get("tools", ()):
                self._parameters[tool["name"]] = x_mcp_header_map(tool.get("inputSchema"))
            cursor = result.get("nextCursor")
            if cursor is None:
                return


def _fault_in(body: bytes, status: int) -> RpcFault:
    """Why the gateway refused: its JSON-RPC error, whose id it may not have known, or the HTTP status."""
    try:
        error = decode(body).error
    except RpcError:
        error = None
    return error if isinstance(error, RpcFault) else RpcFault(INTERNAL_ERROR, f"the gateway answered {status}")


async def standard_input() -> AsyncIterator[bytes]:
    """Lines of this process's standard input."""
    reader = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line


def write_line(message: bytes) -> None:
    """One message to standard output; line breaks inside JSON text are white space."""
    sys.stdout.buffer.write(message.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
    sys.stdout.buffer.flush()


async def run_bridge(url: str, token: str | None) -> None:
    """Serve standard input and output until the client leaves."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
        await Bridge(url, token, http, write_line).run(standard_input())
