"""Requests to one endpoint by aiohttp, with the interface of `pool.Pool`: for what goes through an HTTP proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import aiohttp
from yarl import URL

from toolway.bundled.upstreams.wire import COMMON
from toolway.plugin import UpstreamTimeout, UpstreamUnreachable
from toolway.plugin.http import CONNECT_SECONDS, EgressGuard, dial_error, read_body

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)


class AiohttpAnswer:
    """See `http1.Answer`."""

    def __init__(self, response: aiohttp.ClientResponse, who: str) -> None:
        self.status = response.status
        self._response = response
        self._who = who

    @property
    def content_type(self) -> str:
        """See `http1.Answer`."""
        return self._response.content_type if "content-type" in self._response.headers else ""

    @property
    def encoding(self) -> str:
        """See `http1.Answer`."""
        return self.header("content-encoding")

    def header(self, name: str) -> str:
        """See `http1.Answer.header`."""
        return self._response.headers.get(name, "")

    async def read(self, limit: int) -> bytes:
        """See `http1.Answer.read`."""
        try:
            return await read_body(self._response, limit)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise dial_error(error, self._who) from None
        finally:
            self.close()

    async def chunk(self) -> bytes:
        """See `http1.Answer.chunk`."""
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, ConnectionError) as error:
            raise dial_error(error, self._who) from None

    def close(self) -> None:
        """See `http1.Answer.close`; after the end this only marks it: the connection is back in the pool already."""
        self._response.close()


class AiohttpTransport:
    """See `pool.Pool`."""

    def __init__(
        self,
        who: str,
        url: URL,
        session: Callable[[], aiohttp.ClientSession],
        guard: EgressGuard,
        proxy: URL | None = None,
    ) -> None:
        """`session` gives a guarded one: it judges what is dialled, which a proxy is; `guard` judges what is named."""
        self._who = who
        self._url = url
        self._session = session
        self._guard = guard
        self._proxy = proxy

    def begin(self, headers: Mapping[str, str], body: bytes, seconds: float) -> None:
        """See `wire.Transport`: aiohttp has to look for a connection first."""

    async def request(
        self, method: str, headers: Mapping[str, str], body: bytes | None, seconds: float, target: str = ""
    ) -> AiohttpAnswer:
        """See `pool.Pool.request`."""
        url = self._url.join(URL(target, encoded=True)) if target else self._url
        self._guard.check_url(str(url))
        fields = {**COMMON[method], **headers}
        try:
            async with asyncio.timeout(seconds):
                response = await self._session().request(
                    method, url, data=body, headers=fields, allow_redirects=False, timeout=_TIMEOUT, proxy=self._proxy
                )
        except TimeoutError as error:
            if isinstance(error, aiohttp.ClientError):
                raise dial_error(error, self._who) from None
            raise UpstreamTimeout(f"{self._who} did not answer in time; the outcome is unknown") from None
        except (aiohttp.ClientError, OSError) as error:
            raise dial_error(error, self._who) from None
        except ValueError:
            raise UpstreamUnreachable(f"a header for {self._who} has a line break") from None
        return AiohttpAnswer(response, self._who)
