"""Upstreams of kind `stdio`: an MCP server that is a program, declared in the configuration file only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from toolway.errors import InvalidInput, UpstreamError, UpstreamProtocol, UpstreamUnreachable
from toolway.hookspecs.definitions import SecretRef, UpstreamSettings
from toolway.hookspecs.routing import Connection, Endpoint, Eras, Leg, Upstream
from toolway.plugin.kernel import Secrets
from toolway.upstream.duplex import Duplex
from toolway.upstream.legacy import LegacyConnection
from toolway.upstream.modern import ModernConnection
from toolway.upstream.probe import greeted
from toolway.upstream.process import Process

log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
"""A program that has not answered `server/discover` after so long does not know it."""

START_SECONDS = 30.0

Environment = Callable[[], Awaitable[Mapping[str, str]]]


class StdioUpstream(UpstreamSettings):
    """A program that speaks MCP on its standard input and output."""

    kind: Literal["stdio"] = Field("stdio", description="A program.")
    command: tuple[str, ...] = Field(min_length=1, description="The program and its arguments; no shell is used.")
    env: dict[str, SecretRef] = Field({}, description="Environment variables, as secret references.")
    cwd: Path | None = Field(None, description="The directory to run it in.")


class ProcessLine:
    """A line made of a process's pipes."""

    def __init__(self, name: str, settings: StdioUpstream, environment: Environment) -> None:
        self._name = name
        self._settings = settings
        self._environment = environment
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def open(self, receive: Duplex) -> None:
        """Start the process and read from it."""
        await self.close()
        settings = self._settings
        process = await Process.start(self._name, settings.command, await self._environment(), settings.cwd)
        self._process, self._reader = process, asyncio.create_task(self._read(process, receive))

    async def send(self, message: bytes) -> None:
        """Write one line."""
        if self._process is None:
            raise UpstreamUnreachable(f"the process of upstream {self._name!r} is not running")
        await self._process.send(message)

    async def close(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
        if process is not None:
            await process.stop()

    async def _read(self, process: Process, receive: Duplex) -> None:
        error = UpstreamError(f"the process of upstream {self._name!r} ended; its log has what it wrote to stderr")
        try:
            async for line in process.lines():
                receive.message(line)
        except UpstreamError as broken:
            error = broken
        receive.ended(error)


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

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """Ask one process with `server/discover` and another with `initialize` (MCP 2026-07-28, stdio).

        Raises:
            UpstreamUnreachable: the program cannot be started.
            UpstreamProtocol: it speaks neither era.
        """
        modern = await greeted(lambda own: self._connect(upstream, own), leg, "modern", PROBE_SECONDS)
        legacy = await greeted(lambda own: self._connect(upstream, own), leg, "legacy", START_SECONDS)
        if modern.version or legacy.version:
            return Eras(modern.version, legacy.version)
        raise UpstreamProtocol(f"the process of upstream {upstream.name!r} does not answer with MCP: {legacy.why}")

    def _connect(self, upstream: Upstream, leg: Leg) -> ModernConnection | LegacyConnection:
        settings = cast(StdioUpstream, upstream.settings)

        async def environment() -> dict[str, str]:
            return {name: await self._secrets.get(reference) for name, reference in settings.env.items()}

        duplex = Duplex(ProcessLine(upstream.name, settings, environment), leg, upstream.name)
        if leg.era == "modern":
            return ModernConnection(leg, duplex, upstream.name)
        return LegacyConnection(leg, duplex, upstream.name)
