"""A real node with a tiny application behind the door, and a raw socket in front of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from starlette.types import Receive, Scope, Send

from toolway.edge.edge import Edge
from toolway.edge.serve import listen, serve
from toolway.edge.settings import EdgeSettings
from toolway.hookspecs.serving import ServerRunner

PATIENCE = 5.0
DRIZZLE = 64 * 1024 * 1024
"""Bytes that the path `/drizzle` sends, in small pieces, as fast as it may."""


class Probe:
    """The application: says what it saw, and behaves badly where the path says so."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.disconnected = asyncio.Event()
        self.send_failed = asyncio.Event()
        self.release = asyncio.Event()
        self.drizzled = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests.append(scope["path"])
        handler = getattr(self, "on_" + scope["path"].strip("/").replace("-", "_"), self.on_anything)
        await handler(scope, receive, send)

    async def on_anything(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = {name: scope.get(name) for name in ("client", "scheme", "path", "root_path")}
        seen["headers"] = [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]]
        await self.reply(send, json.dumps(seen).encode())

    async def on_echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                return await self.reply(send, body)
        self.disconnected.set()

    async def on_stubborn(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(Exception):
            while (await receive())["more_body"]:
                pass
        await self.reply(send, b"whatever")

    async def on_late(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass
        await self.reply(send, b"early")
        if (await receive())["type"] == "http.disconnect":
            self.disconnected.set()

    async def on_slow(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.release.wait()
        await self.reply(send, b"done")

    async def on_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.disconnected.set()

    async def on_flood(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        except OSError:
            self.send_failed.set()
            raise

    async def on_drizzle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(DRIZZLE // 8192):
            await send({"type": "http.response.body", "body": b"x" * 8192, "more_body": True})
            self.drizzled += 8192

    async def on_fail(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("the password is hunter2")

    async def on_fail_late(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("the password is hunter2")

    async def on_mute(self, scope: Scope, receive: Receive, send: Send) -> None:
        return

    async def reply(self, send: Send, body: bytes) -> None:
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})


class Answer:
    """An HTTP/1.1 answer as it came, up to the end of the connection."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.raw = raw
        self.status = int(lines[0].split()[1]) if head else 0
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Node:
    """A gateway node with a `Probe` behind its door, and the client side of it."""

    def __init__(self, edge: Edge, app: Probe) -> None:
        self.edge, self.app = edge, app
        self.drains: list[str] = []
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        self.port = 0
        self.task: asyncio.Task[None]

    async def open(self, runner: ServerRunner) -> None:
        """Serve on a free port of 127.0.0.1; raises what `serve` raises if it cannot begin."""
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        ready = serve(
            self.edge,
            runner,
            listen("127.0.0.1:0"),
            stop=self.stop,
            ready=lambda bound: started.set_result(bound[0][1]),
            on_drain=self._drained,
            hurry=self.hurry,
        )
        self.task = asyncio.create_task(ready)
        waiting: set[asyncio.Future[Any]] = {self.task, started}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            self.task.result()
        self.port = started.result()

    async def _drained(self) -> None:
        self.drains.append("closed")

    async def close(self) -> None:
        """End it at once."""
        self.hurry.set()
        self.stop.set()
        await asyncio.wait_for(self.task, PATIENCE)

    @property
    def host(self) -> bytes:
        return b"Host: 127.0.0.1:%d\r\n" % self.port

    async def connect(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "localhost" if tls else None
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls, server_hostname=name)

    async def talk(self, raw: bytes, tls: ssl.SSLContext | None = None) -> bytes:
        """Send bytes, read until the other side closes."""
        reader, writer = await self.connect(tls)
        try:
            writer.write(raw)
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()

    async def ask(self, raw: bytes) -> Answer:
        """Like `talk`, with the Host header put in place of `HOST`."""
        return Answer(await self.talk(raw.replace(b"HOST\r\n", self.host)))

    async def get(
        self, path: str = "/", *headers: str, method: str = "GET", tls: ssl.SSLContext | None = None
    ) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", "Connection: close", *headers]
        if any(header.lower().startswith("host:") for header in headers):
            del lines[1]
        return Answer(await self.talk("\r\n".join([*lines, "", ""]).encode("latin-1"), tls))


OpenGate = Callable[..., Awaitable[Node]]


class RunnerContract:
    """Inherit beside a fixture `runner`, which is the runner to test."""

    @pytest_asyncio.fixture
    async def gate(self, runner: ServerRunner) -> AsyncIterator[OpenGate]:
        """Call with the settings of the edge as keywords; the node listens on a free port of 127.0.0.1."""
        async with contextlib.AsyncExitStack() as stack:

            async def opened(*, bind: str = "127.0.0.1:0", public_url: str = "", **settings: Any) -> Node:
                app = Probe()
                node = Node(Edge(app, EdgeSettings.model_validate(settings), bind=bind, public_url=public_url), app)
                await node.open(runner)
                stack.push_async_callback(node.close)
                return node

            yield opened
