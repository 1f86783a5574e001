"""Which eras an endpoint speaks is found out by greeting it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError
from upstream_parts import Literals, call, child, fixture_command, http_upstream, leg, serving, stdio_upstream

from toolway.bundled.upstreams.http import HttpKind
from toolway.bundled.upstreams.stdio import StdioKind
from toolway.errors import InvalidInput, UpstreamError, UpstreamProtocol, UpstreamUnreachable
from toolway.hookspecs.routing import Eras

BOTH = Eras("2026-07-28", "2025-11-25")


async def probe_http(http: HttpKind, url: str) -> Eras:
    upstream = http_upstream(http, url)
    return await http.probe(upstream, upstream.endpoints[0], leg("modern"))


@pytest.mark.parametrize(
    ("era", "found"),
    [("dual", BOTH), ("legacy", Eras(None, "2025-11-25")), ("modern", Eras("2026-07-28", None))],
)
@pytest.mark.parametrize("script", ["everything.py", "raw_upstream.py"])
async def test_every_era_that_works_is_reported(script: str, era: str, found: Eras, http: HttpKind) -> None:
    with child(script, "--era", era) as url:
        assert await probe_http(http, url) == found


async def test_the_old_transport_is_found_and_remembered(http: HttpKind, everything_sse: str) -> None:
    assert await probe_http(http, everything_sse) == Eras(None, "2025-11-25")
    upstream = http_upstream(http, everything_sse)
    connection = http.connect(upstream, upstream.endpoints[0], leg("legacy"))
    assert (await connection.request(call("test_simple_text"))).result is not None
    await connection.close()


async def test_an_endpoint_that_is_no_mcp_server_is_a_protocol_error(http: HttpKind) -> None:
    async def page(asked: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async with serving(page) as url:
        with pytest.raises(UpstreamProtocol, match="check the URL"):
            await probe_http(http, url)


async def test_an_endpoint_that_is_down_is_unreachable(http: HttpKind) -> None:
    with pytest.raises(UpstreamUnreachable):
        await probe_http(http, "http://127.0.0.1:9/mcp")


async def test_an_unknown_modern_version_alone_is_not_ours(http: HttpKind) -> None:
    async def future(asked: web.Request) -> web.Response:
        error = {"code": -32022, "message": "no", "data": {"supported": ["2031-01-01"]}}
        return web.json_response({"jsonrpc": "2.0", "id": (await asked.json())["id"], "error": error}, status=400)

    async with serving(future) as url:
        with pytest.raises(UpstreamError):
            await probe_http(http, url)


@pytest.mark.parametrize(("status", "code"), [(400, -32020), (400, -32021), (404, -32601)])
async def test_a_refusal_in_modern_words_counts_as_modern(status: int, code: int, http: HttpKind) -> None:
    async def refuse(asked: web.Request) -> web.Response:
        message = await asked.json()
        if message["method"] == "initialize":
            return web.Response(status=400)
        error = {"code": code, "message": "no"}
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "error": error}, status=status)

    async with serving(refuse) as url:
        assert await probe_http(http, url) == Eras("2026-07-28", None)


async def test_an_unknown_method_with_status_200_is_not_modern(http: HttpKind) -> None:
    async def refuse(asked: web.Request) -> web.Response:
        error = {"code": -32601, "message": "no"}
        return web.json_response({"jsonrpc": "2.0", "id": (await asked.json())["id"], "error": error})

    async with serving(refuse) as url:
        with pytest.raises(UpstreamProtocol):
            await probe_http(http, url)


async def test_a_private_address_is_refused_without_leave(http: HttpKind, everything: str) -> None:
    upstream = http_upstream(http, everything, allow_private=False)
    with pytest.raises(UpstreamUnreachable):
        await http.probe(upstream, upstream.endpoints[0], leg("modern"))


@pytest.mark.parametrize(("era", "found"), [("dual", BOTH), ("legacy", Eras(None, "2025-11-25"))])
async def test_a_program_is_asked_in_both_eras(era: str, found: Eras) -> None:
    kind = StdioKind(Literals())
    upstream = stdio_upstream(kind, *fixture_command("--stdio", "--era", era))
    assert await kind.probe(upstream, upstream.endpoints[0], leg("modern")) == found


@pytest.mark.parametrize("program", ["import sys; sys.exit(3)", "print('hello')"])
async def test_a_program_that_speaks_no_mcp_is_an_error(program: str) -> None:
    kind = StdioKind(Literals())
    upstream = stdio_upstream(kind, sys.executable, "-c", program)
    with pytest.raises(UpstreamProtocol):
        await kind.probe(upstream, upstream.endpoints[0], leg("modern"))


async def test_a_program_that_does_not_exist_is_unreachable() -> None:
    kind = StdioKind(Literals())
    upstream = stdio_upstream(kind, "/no/such/program")
    with pytest.raises(UpstreamUnreachable):
        await kind.probe(upstream, upstream.endpoints[0], leg("modern"))


@pytest.mark.parametrize("url", ["ftp://a/", "http://user:pw@a/", "http://", "/mcp", "http://a b/"])
def test_what_is_no_http_url_is_refused_as_endpoint(url: str) -> None:
    with pytest.raises(InvalidInput):
        http_upstream(HttpKind(None, Literals()), url)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", ["Host", "Mcp-Name", "content-length", "bad name", ""])
def test_headers_of_the_gateway_cannot_be_configured(header: str) -> None:
    settings: dict[str, Any] = {"name": "a", "endpoints": ["http://a/"], "headers": {header: "env:X"}}
    with pytest.raises(ValidationError):
        HttpKind(None, Literals()).settings.model_validate(settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("header", ["Tenant-Id", "Hostname", "Expected-Version"])
def test_headers_that_only_begin_like_those_can_be_configured(header: str) -> None:
    settings: dict[str, Any] = {"name": "a", "endpoints": ["http://a/"], "headers": {header: "env:X"}}

    HttpKind(None, Literals()).settings.model_validate(settings)  # type: ignore[arg-type]
