"""Upstreams of kind `stdio`: an MCP server that is a program, declared in the configuration file only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from toolway.errors import InvalidInput, UpstreamError, UpstreamUnreachable
from toolway.hookspecs.definitions import SecretRef, UpstreamSettings
from toolway.hookspecs.routing import ClientProfile, Connection, Endpoint, Eras, Leg, Upstream
from toolway.mcp.versions import LEGACY, MODERN
from toolway.plugin.kernel import Secrets
from toolway.upstream.channel import OPENING_SECONDS
from toolway.upstream.duplex import Duplex
from toolway.upstream.legacy import LegacyConnection
from toolway.upstream.modern import ModernConnection
from toolway.upstream.process import Process

log = logging.getLogger(__name__)

PROBE_SECONDS = 5.0


class StdioUpstream(UpstreamSettings):
    """A program that speaks MCP on its standard input and output."""

    kind: Literal["stdio"] = Field("stdio", description="A program.")
    command: tuple[str, ...] = Field(min_length=1, description="The program and its arguments; no shell is used.")
    env: dict[str, SecretRef] = Field({}, description="Environment variables, as secret references.")
    cwd: Path | None = Field(None, description="The directory to run it in.")


class ProcessLine:
    """A line made of a process's pipes."""

    def __init__(self, name: str, settings: StdioUpstream, environment: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._name = name
        self._settings = settings
        self._environment = environment
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, receive: Duplex) -> None:
        """Start the process and read from it."""
        await self.close()
        settings = self._settings
        self._process = await Process.start(self._name, settings.command, await self._environment(), settings.cwd)
        self._reader = asyncio.create_task(self._read(self._process, receive))

    async def send(self, message: bytes) -> None:
        """Write one line."""
        if self._process is None:
            raise UpstreamUnreachable(f"the process of upstream {self._name!r} is not running")
        await self._process.send(message)

    async def close(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None
        if process is not None:
            await process.stop()

    async def _read(self, process: Process, receive: Duplex) -> None:
        async for line in process.lines():
            if line.strip():
                receive.message(line)
        receive.ended(UpstreamError(f"the process of upstream {self._name!r} ended"))


class StdioKind:
    """Provider of the kind."""

    kind = "stdio"
    settings: type[UpstreamSettings] = StdioUpstream
    file_only = True

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def endpoints(self, settings: UpstreamSettings) -> tuple[Endpoint, ...]:
        """The program is the one endpoint."""
        if not cast(StdioUpstream, settings).command[0]:
            raise InvalidInput(f"upstream {settings.name!r}: command must begin with a program")
        return (Endpoint("local"),)

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Connection:
        """One process per leg."""
        return self._connect(upstream, leg)

    def _connect(self, upstream: Upstream, leg: Leg) -> ModernConnection | LegacyConnection:
        duplex = Duplex(self._line(upstream), leg.peer)
        if leg.era == "modern":
            return ModernConnection(leg, duplex, upstream.name)
        return LegacyConnection(leg, duplex, upstream.name)

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """A process answers `server/discover`, or it is of the handshake era (MCP 2026-07-28, stdio)."""
        for era, seconds in (("modern", PROBE_SECONDS), ("legacy", OPENING_SECONDS)):
            connection = self._connect(upstream, _with_era(leg, modern=era == "modern"))
            try:
                async with asyncio.timeout(seconds):
                    version = await connection.greet()
                return Eras(modern=version) if era == "modern" else Eras(legacy=version)
            except UpstreamUnreachable:
                raise
            except (UpstreamError, TimeoutError) as error:
                log.debug("upstream %s does not speak the %s era: %s", upstream.name, era, error)
            finally:
                await connection.close()
        raise UpstreamError(f"the process of upstream {upstream.name!r} does not answer with MCP")

    def _line(self, upstream: Upstream) -> ProcessLine:
        settings = cast(StdioUpstream, upstream.settings)

        async def environment() -> dict[str, str]:
            return {name: await self._secrets.get(reference) for name, reference in settings.env.items()}

        return ProcessLine(upstream.name, settings, environment)


def _with_era(leg: Leg, *, modern: bool) -> Leg:
    client = ClientProfile(MODERN[0] if modern else LEGACY[0], {}, leg.client.info)
    return Leg("modern" if modern else "legacy", leg.key, client, leg.peer, leg.authorize)


