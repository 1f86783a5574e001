"""An HTTP server that remembers every request and answers as it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

Respond = Callable[[web.Request], web.Response]


class Recorder:
    """`seen` are the requests with their bodies; `answers` has what paths answer, `{}` otherwise."""

    def __init__(self) -> None:
        self.seen: list[tuple[web.Request, bytes]] = []
        self.answers: dict[str, Respond] = {}
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self.server = TestServer(app, host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    @property
    def last(self) -> web.Request:
        return self.seen[-1][0]

    def answer(self, path: str, value: Any = None, **options: Any) -> None:
        """Let a path answer with JSON, or with what the options of `web.Response` say."""
        if "body" in options or "text" in options:
            self.answers[path] = lambda request: web.Response(**options)
        else:
            self.answers[path] = lambda request: web.json_response(value, **options)

    async def _serve(self, request: web.Request) -> web.Response:
        self.seen.append((request, await request.read()))
        known = self.answers.get(request.path)
        return known(request) if known else web.json_response({})
