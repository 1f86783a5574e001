"""An address and port for nothing but the page, on which every worker listens: any of them answers for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from toolway.hookspecs.api import ANY
from toolway.hookspecs.auth import AuthContext, Visit
from toolway.plugin import ConfigError, Forbidden, Kernel, ToolwayError, Unauthenticated
from toolway_prometheus.operations import PATH, READ
from toolway_prometheus.page import Page

SILENT_SECONDS = 75.0

Answer = Callable[[web.Request], Awaitable[web.Response]]


class Listener:
    """A service. The socket outlives a reload as long as its address stays; the newest gateway answers."""

    name = "prometheus"

    def __init__(self, kernel: Kernel, page: Page, bind: str, *, is_public: bool) -> None:
        self._kernel, self._page, self._bind, self._is_public = kernel, page, bind, is_public

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`; raises ConfigError when the address cannot be used."""
        socket = await self._kernel.keep("prometheus", self._bind, self._open, Socket.close)
        socket.answer = self.answer
        yield

    async def answer(self, request: web.Request) -> web.Response:
        """The page, for those who may read it."""
        try:
            if not self._is_public:
                await self._check(request)
        except ToolwayError as error:
            challenge = self._kernel.challenges.header(error, presented="authorization" in request.headers)
            headers = {**error.headers, **({"www-authenticate": challenge} if challenge else {})}
            return web.Response(status=error.status, text=f"{error.message}\n", headers=headers)
        fields = request.headers
        written = await self._page.write(fields.get("accept", ""), fields.get("accept-encoding", ""))
        return web.Response(body=written.body, headers=written.headers)

    async def _check(self, request: web.Request) -> None:
        kernel, fields = self._kernel, {name.lower(): value for name, value in request.raw_headers}
        agent = fields.get(b"user-agent", b"").decode("latin-1")
        context = AuthContext(None, request.remote or "", request.path, agent)
        who = await kernel.authenticate(Visit(fields.get(b"authorization"), fields.get(b"x-api-key"), context))
        if who.principal.kind == "anonymous":
            raise Unauthenticated("a credential is needed here; send 'Authorization: Bearer <token>'")
        if not kernel.authorized(who.principal, READ, kernel.describe(READ, ANY)):
            raise Forbidden(f"permission {READ!r} is needed here", permission=READ, scope=f"{READ}:{ANY}")
        if who.claim is not None:
            await who.claim()

    async def _open(self) -> Socket:
        socket = Socket(self.answer)
        try:
            await socket.open(self._bind)
        except OSError as error:
            await socket.close()
            what = f"cannot listen on {self._bind} ({error}); free the port or change plugins.prometheus.bind"
            raise ConfigError(what) from error
        return socket


class Socket:
    """What listens; `answer` can be another one from one request to the next."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        app = web.Application(client_max_size=0)
        app.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=SILENT_SECONDS)

    async def open(self, bind: str) -> None:
        """Listen; raises OSError."""
        host, _, port = bind.rpartition(":")
        await self._runner.setup()
        await web.TCPSite(self._runner, host.strip("[]"), int(port), reuse_port=True).start()

    async def close(self) -> None:
        """Nobody is served any more."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request)
