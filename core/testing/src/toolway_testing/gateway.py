"""A real gateway inside the test's event loop: real socket, real database, the plugins that the test names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from toolway.app import Gateway
from toolway.bundled.defaults.admin_token import ensure_first_token
from toolway.config import Config
from toolway.edge import serve
from toolway.edge.edge import Edge
from toolway.edge.metrics import Instruments
from toolway.lifecycle import Life

VERSION = "2026-07-28"


@dataclass
class Answer:
    """An HTTP answer, read."""

    status: int
    headers: dict[str, str]
    content: Any


@dataclass
class RunningGateway:
    """A gateway that serves on `url`; `token` is its local admin token, `config` what it reads when it is reloaded."""

    url: str
    token: str
    config: Config
    life: Life
    http: aiohttp.ClientSession

    @property
    def gateway(self) -> Gateway:
        """The one that serves now."""
        return self.life.gateway

    def tell(self) -> None:
        """Have watchers told now of what ended."""
        self.gateway.plane.dispatch.watchers.tell()

    async def reload(self, **tables: Any) -> None:
        """Let a gateway take over whose configuration has other tables, such as `plugins=PluginTables(…)`."""
        self.config = self.config.model_copy(update=tables)
        await (await self.life.prepare()).commit()

    async def api(self, method: str, path: str, body: Any = None, *, token: str | None = None) -> Answer:
        """A request to the admin API, as the local admin unless another token is given."""
        headers = {"authorization": f"Bearer {self.token if token is None else token}"}
        return await self._send(method, f"{self.url}/api/v1{path}", headers, body)

    async def mcp(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        server: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A modern MCP request without a credential, unless `headers` carry one."""
        meta = {
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        full = {**(params or {}), "_meta": {**(params or {}).get("_meta", {}), **meta}}
        fields = {
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": VERSION,
            "mcp-method": method,
        }
        if (name := full.get("name", full.get("uri"))) is not None:
            fields["mcp-name"] = name
        path = f"/servers/{server}/mcp" if server else "/mcp"
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": full}
        return await self._send("POST", self.url + path, {**fields, **(headers or {})}, message)

    async def call(self, tool: str, arguments: dict[str, Any] | None = None, **options: Any) -> Answer:
        """`tools/call`."""
        return await self.mcp("tools/call", {"name": tool, "arguments": arguments or {}}, **options)

    async def _send(self, method: str, url: str, headers: dict[str, str], body: Any) -> Answer:
        async with self.http.request(method, url, headers=headers, json=body) as response:
            is_json = response.content_type.endswith("json")
            content = await response.json(content_type=None) if is_json else await response.text(errors="replace")
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, content)


StartGateway = Callable[..., Awaitable[RunningGateway]]


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[StartGateway]:
    """Awaited with `enable=["vault"], plugins={"vault": {…}}, upstreams=[…], servers=[…]` it starts a gateway."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            enable: Sequence[str] = (),
            plugins: dict[str, dict[str, Any]] | None = None,
            upstreams: Sequence[dict[str, Any]] = (),
            servers: Sequence[dict[str, Any]] = (),
            demo: bool = False,
            **settings: Any,
        ) -> RunningGateway:
            quick = {"data_dir": tmp_path / "data", "drain_delay": 0, "drain_timeout": 1}
            config = Config(
                gateway={"bind": "127.0.0.1:0", **quick, **settings},
                plugins={"enable": list(enable), **(plugins or {})},
                upstreams=tuple(upstreams),
                servers=tuple(servers),
            )
            return await _start(stack, config, demo=demo)

        yield start


async def _start(stack: AsyncExitStack, config: Config, *, demo: bool) -> RunningGateway:
    life = Life(lambda: running.config, Instruments(), lambda gateway: None, demo=demo)
    built = await life.build(config)
    sockets = serve.listen(config.gateway.bind)
    for each in sockets:
        stack.callback(each.close)  # of a gateway that does not get as far as serving on them
    token = await ensure_first_token(built.kernel.database, built.kernel.clock)
    host, port = sockets[0].getsockname()[:2]
    url = f"http://{host}:{port}"
    edge = Edge(built.app, config.gateway, bind=f"{host}:{port}", public_url=url)
    stop, ready = asyncio.Event(), asyncio.Event()  # it stops in a hurry: nobody is about to send something
    life.swapped = lambda gateway: setattr(edge, "app", gateway.app)
    await stack.enter_async_context(life.running())

    async def drain() -> None:
        await life.gateway.drain()

    served = serve.serve(
        edge, built.runner, sockets, stop=stop, ready=lambda _: ready.set(), on_drain=drain, hurry=stop
    )
    task = asyncio.create_task(served)

    async def end() -> None:
        stop.set()
        await task

    stack.push_async_callback(end)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    await ready.wait()
    running = RunningGateway(url, token or "", config, life, http)
    return running
