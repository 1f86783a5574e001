"""Upstreams of kind `stdio`: an MCP server that is a program, declared in the configuration file only."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Literal, cast

from pydantic import Field

from toolway.bundled.upstreams.conversation import Conversation, greeted
from toolway.bundled.upstreams.duplex import Duplex
from toolway.bundled.upstreams.legacy import LegacyConnection
from toolway.bundled.upstreams.modern import ModernConnection
from toolway.bundled.upstreams.process import Process
from toolway.hookspecs.definitions import SecretRef, UpstreamSettings
from toolway.hookspecs.routing import Endpoint, Eras, Leg, Upstream
from toolway.plugin import (
    InvalidInput,
    Secrets,
    SecretUnavailable,
    UpstreamError,
    UpstreamProtocol,
    UpstreamUnreachable,
)

log = logging.getLogger(__name__)

PROBE_SECONDS = 10.0
"""A program that has not answered `server/discover` after so long does not know it."""

START_SECONDS = 30.0

FOLLOW_SECONDS = 5.0
"""How often it is looked at whether the secrets of a program's environment have changed."""


class StdioUpstream(UpstreamSettings):
    """A program that speaks MCP on its standard input and output."""

    kind: Literal["stdio"] = Field("stdio", description="A program.")
    command: tuple[str, ...] = Field(min_length=1, description="The program and its arguments; no shell is used.")
    env: dict[str, SecretRef] = Field({}, description="Environment variables, as secret references.")
    cwd: Path | None = Field(None, description="The directory to run it in.")


class ProcessDuplex(Duplex):
    """The pipes of a process."""

    def __init__(self, settings: StdioUpstream, secrets: Secrets, leg: Leg) -> None:
        super().__init__(leg, settings.name)
        self._settings = settings
        self._secrets = secrets
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._follower: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Start the process and read from it."""
        settings, environment = self._settings, await self._environment()
        self._process = await Process.start(self.upstream, settings.command, environment, settings.cwd)
        self._reader = asyncio.create_task(self._read(self._process))
        self._follower = asyncio.create_task(self._follow(environment)) if environment else None

    async def write(self, message: bytes) -> None:
        """Write one line; a process that takes none any more is replaced for the next call."""
        if (process := self._process) is None:
            raise UpstreamUnreachable(f"the process of upstream {self.upstream!r} is not running")
        try:
            await process.send(message)
        except UpstreamError:
            if process is self._process:
                self.lost.set()
            raise

    async def disconnect(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        if self._follower is not None:
            self._follower.cancel()
        if process is not None and self._reader is not None:
            self._reader.cancel()
            await process.stop()

    async def _environment(self) -> dict[str, str]:
        return {name: await self._secrets.get(reference) for name, reference in self._settings.env.items()}

    async def _follow(self, given: dict[str, str]) -> None:
        """When a secret has changed and no call runs, the conversation is over; the next one starts the program."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                is_old = await self._environment() != given
            except SecretUnavailable:
                continue  # the program has what it needs
            if is_old and not self._calls():
                log.info("upstream %s: secrets of its environment have changed; it is started anew", self.upstream)
                self.ended(UpstreamError(f"the environment of upstream {self.upstream!r} has changed"))
                return

    async def _read(self, process: Process) -> None:
        error = UpstreamError(f"the process of upstream {self.upstream!r} ended; its log has what it wrote to stderr")
        try:
            async for line in process.lines():
                self.received(line)
        except UpstreamError as broken:
            error = broken
        except Exception:
            log.exception("a message of upstream %s met a bug", self.upstream)
            error = UpstreamError(f"a message of upstream {self.upstream!r} could not be read; the log has more")
        self.ended(error)


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

    def connect(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Conversation:
        """One process per leg."""
        duplex = ProcessDuplex(cast(StdioUpstream, upstream.settings), self._secrets, leg)
        connection = ModernConnection if leg.era == "modern" else LegacyConnection
        return connection(leg, duplex, upstream.name)

    async def probe(self, upstream: Upstream, endpoint: Endpoint, leg: Leg) -> Eras:
        """Ask one process with `server/discover` and another with `initialize` (MCP 2026-07-28, stdio).

        Raises:
            UpstreamUnreachable: the program cannot be started.
            UpstreamProtocol: it speaks neither era.
        """

        def connect(own: Leg) -> Conversation:
            return self.connect(upstream, endpoint, own)

        modern, _ = await greeted(connect, leg, "modern", PROBE_SECONDS)
        legacy, why = await greeted(connect, leg, "legacy", START_SECONDS)
        if modern or legacy:
            return Eras(modern, legacy)
        raise UpstreamProtocol(f"the process of upstream {upstream.name!r} does not answer with MCP: {why}")
