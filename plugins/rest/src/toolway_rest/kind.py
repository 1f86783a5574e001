"""The upstream kind `rest`."""

from __future__ import annotations

import asyncio
from typing import cast

from toolway.hookspecs.definitions import UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Eras, Leg, Upstream
from toolway.plugin import InvalidInput, Kernel, UpstreamError, UpstreamTimeout
from toolway.plugin.http import EgressRefused, check_url
from toolway_rest.connection import RestConnection, Sender
from toolway_rest.library import Library
from toolway_rest.requests import Prepared
from toolway_rest.settings import RestUpstream, is_url

VERSION = "2026-07-28"
"""What the gateway itself speaks for a REST API: every request stands alone."""

PROBE_SECONDS = 10.0


class RestKind:
    """Provider of the kind."""

    kind = "rest"
    settings: type[UpstreamSettings] = RestUpstream
    file_only = False

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._library = Library(kernel)

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        """One for each base URL; raises InvalidInput for what is no http(s) URL."""
        rest = cast(RestUpstream, settings)
        documents = [("document", rest.document)] if is_url(rest.document) else []
        for what, url in [("endpoint", url) for url in rest.endpoints] + documents:
            try:
                check_url(url)
            except EgressRefused as refused:
                place = url.partition("?")[0].rpartition("@")[2]  # the rest may be secret
                raise InvalidInput(f"upstream {settings.name!r}: {what} {place!r}: {refused.message}") from None
        return tuple(Endpoint(url) for url in dict.fromkeys(rest.endpoints))

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """Ask for `health`, where it is set; any answer below 500 will do.

        Raises:
            UpstreamError: it does not answer, or with a failure.
        """
        settings = cast(RestUpstream, upstream.settings)
        if settings.health:
            request = Prepared("GET", settings.health, [], {}, [])
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    answer = await self._sender(upstream, endpoint, leg).send(request, PROBE_SECONDS)
            except TimeoutError:
                raise UpstreamTimeout(
                    f"upstream {upstream.name!r}: {settings.health} is not answered in time"
                ) from None
            if answer.status >= 500:
                raise UpstreamError(f"upstream {upstream.name!r}: {settings.health} answers HTTP {answer.status}")
        return Eras(modern=VERSION)

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> RestConnection:
        """What makes HTTP requests of calls; nothing is sent yet."""
        settings = cast(RestUpstream, upstream.settings)
        return RestConnection(settings, self._library, self._sender(upstream, endpoint, leg), VERSION)

    def _sender(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Sender:
        authorize = leg.authorize if upstream.auth is not None else None
        settings = cast(RestUpstream, upstream.settings)
        return Sender(settings, endpoint, self._kernel.http, self._kernel.secrets, authorize)
