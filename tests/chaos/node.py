"""A gateway process in front of a server that naps, and the clients of a test that is about the gateway itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import running
from callers import VERSION
from stage import Replica

from toolway_testing.ports import free_port

UNSENT, CLOSED = "Can not write request body", "an idle connection was found closed"
NAPPING = str(Path(__file__).with_name("napping.py"))
LEGACY = "2025-11-25"
BOTH = {"accept": "application/json, text/event-stream"}
META = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}


@dataclass(frozen=True)
class Node:
    """The gateway."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """Where the server with the tool is."""
        return f"{self.url}/servers/conformance/mcp"


@contextlib.contextmanager
def node(directory: Path, gateway: str, upstream: str = "", plugins: str = "enable = []") -> Iterator[Node]:
    """Started, with the tool known; the arguments are more lines of the tables of those names."""
    replica = Replica(NAPPING, directory)
    with replica.stack:
        replica.start()
        with in_front_of(replica, gateway, upstream, plugins) as made:
            yield made


@contextlib.contextmanager
def in_front_of(
    replica: Replica,
    gateway: str,
    upstream: str = "",
    plugins: str = "enable = []",
    *more: str,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Node]:
    """As `node`, with a server that naps already, whose directory keeps the data; `more` are whole tables."""
    directory, port = replica.directory, free_port()
    url, file, log = f"http://127.0.0.1:{port}", directory / "toolway.toml", directory / "gateway.log"
    file.write_text(
        f'[gateway]\nbind = "127.0.0.1:{port}"\npublic_url = "{url}"\ndata_dir = "{directory / "data"}"\n{gateway}\n'
        f"[plugins]\n{plugins}\n"
        + running.upstream_table("many", replica.url).rstrip()
        + "\n\n".join(["", upstream, *more, ""]).removeprefix("\n")
        + running.server_table("*/*")
    )
    command = [str(Path(sys.executable).with_name("toolway")), "serve", "--config", str(file)]
    with running.child(command, log, lambda: running.answers(f"{url}/ready"), environment) as process:
        made = Node(url, log, process)
        for _ in range(8):  # each worker, more or less: the sockets share the connections
            running.poll(lambda: "nap" in running.list_tools(made.endpoint), "no tool", log)
        yield made


@dataclass
class Clients:
    """Clients of a node that is about to go: what came of each thing that they did, in `seen`."""

    url: str
    seen: Counter[str] = field(default_factory=Counter)
    is_over: bool = False

    async def repeat(self, what: str, once: Callable[[aiohttp.ClientSession], Awaitable[None]]) -> None:
        """Until the gateway takes no connections any more; each client has connections of its own."""
        async with aiohttp.ClientSession() as http:
            while not self.is_over and await self.attempt(what, once, http):
                pass

    async def attempt(
        self, what: str, once: Callable[[aiohttp.ClientSession], Awaitable[None]], http: aiohttp.ClientSession
    ) -> bool:
        """Whether it could connect; what else goes wrong is a failure.

        A handshake that meets a closing socket is refused with a reset, before anything is sent. That an idle
        connection was closed may be found only when the next request is to be written to it (RFC 9112, section 9.3.1):
        nobody has seen that one, so it is made again.
        """
        try:
            await once(http)
        except aiohttp.ClientConnectorError as error:
            if not isinstance(error.os_error, ConnectionRefusedError | ConnectionResetError):
                self.seen[f"{what} failed: {error!r}"] += 1
            return False
        except (aiohttp.ClientError, OSError, AssertionError, TimeoutError) as error:
            is_unsent = isinstance(error, aiohttp.ClientOSError) and error.errno is None and UNSENT in str(error)
            self.seen[CLOSED if is_unsent else f"{what} failed: {error!r}"] += 1
            return True
        self.seen[what] += 1
        return True

    @property
    def failures(self) -> dict[str, int]:
        """What went wrong, and how often."""
        return {what: count for what, count in self.seen.items() if "failed" in what}

    async def call(self, http: aiohttp.ClientSession, seconds: float) -> None:
        """A modern call."""
        params = {"name": "nap", "arguments": {"seconds": seconds}, "_meta": META}
        headers = {**BOTH, "mcp-protocol-version": VERSION, "mcp-method": "tools/call", "mcp-name": "nap"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        async with http.post(self.url, json=message, headers=headers) as answer:
            text = await answer.text()
            assert answer.status == 200, (answer.status, text)
            assert '"awake"' in text, text

    async def legacy_call(self, http: aiohttp.ClientSession, seconds: float) -> None:
        """A new session, and a call in it."""
        await self.call_in_session(http, await self.initialized(http), seconds)

    async def call_in_session(self, http: aiohttp.ClientSession, headers: dict[str, str], seconds: float) -> None:
        """A call in the session of these headers."""
        params = {"name": "nap", "arguments": {"seconds": seconds}}
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        async with http.post(self.url, json=message, headers=headers) as answer:
            text = await answer.text()
            assert '"awake"' in text, (answer.status, text)

    async def initialized(self, http: aiohttp.ClientSession) -> dict[str, str]:
        """The headers of a new session."""
        params = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        async with http.post(self.url, json=message, headers=BOTH) as answer:
            assert answer.status == 200, answer.status
            await answer.read()
            return {**BOTH, "mcp-session-id": answer.headers["mcp-session-id"], "mcp-protocol-version": LEGACY}

    async def listen(self, http: aiohttp.ClientSession, opened: asyncio.Semaphore) -> None:
        """A modern subscription, until its answer and the proper end of its stream."""
        params = {"notifications": {"toolsListChanged": True}, "_meta": META}
        headers = {**BOTH, "mcp-protocol-version": VERSION, "mcp-method": "subscriptions/listen"}
        message = {"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}
        async with http.post(self.url, json=message, headers=headers) as answer:
            text = await _read(answer, opened)
        last = json.loads(text.strip().rpartition("data: ")[2])
        assert (last["id"], last["result"]["resultType"]) == (7, "complete"), text

    async def legacy_listen(self, http: aiohttp.ClientSession, opened: asyncio.Semaphore) -> None:
        """The stream of a session, until its proper end."""
        async with http.get(self.url, headers=await self.initialized(http)) as answer:
            assert answer.status == 200, answer.status
            await _read(answer, opened)


async def _read(answer: aiohttp.ClientResponse, opened: asyncio.Semaphore) -> str:
    text = (await answer.content.readany()).decode()
    opened.release()
    return text + (await answer.content.read()).decode()


@contextlib.asynccontextmanager
async def busy(url: str, *, each: int, streams: int) -> AsyncIterator[Clients]:
    """Clients of all sorts that do not stop by themselves; inside of the context all streams are open."""
    clients, opened = Clients(url), asyncio.Semaphore(0)
    work: list[Any] = []
    for _ in range(each):
        work += [
            clients.repeat("call", lambda http: clients.call(http, 0)),
            clients.repeat("slow call", lambda http: clients.call(http, 0.4)),
            clients.repeat("legacy call", lambda http: clients.legacy_call(http, 0.2)),
        ]
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        for _ in range(streams):
            group.create_task(clients.attempt("stream", lambda http: clients.listen(http, opened), http))
            group.create_task(clients.attempt("stream", lambda http: clients.legacy_listen(http, opened), http))
        async with asyncio.timeout(10):
            for _ in range(2 * streams):
                await opened.acquire()
        for one in work:
            group.create_task(one)
        yield clients
        clients.is_over = True
