"""The plugin of the benchmark: bearer tokens that cost what verified tokens cost, idle middleware, a watch on the loop.

A token is `<name>.<mark>` with the HMAC-SHA256 of its name, so every name is a principal of its own, and the kernel
caches it as it does any verified credential.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from toolway.hookspecs.auth import AuthContext, Authenticated, Authenticator, Credentials, Principal
from toolway.hookspecs.routing import Call, CallNext, Reply, RequestMiddleware
from toolway.hookspecs.system import Service
from toolway.plugin import Clock, Kernel, Plugin, Settings, Unauthenticated, hookimpl

KEY = b"benchmark only"
CACHED_SECONDS = 3600.0
PROBE_SECONDS, WRITE_SECONDS = 0.005, 0.2


def token(name: str) -> str:
    """The token of a principal."""
    return f"{name}.{hmac.digest(KEY, name.encode(), hashlib.sha256).hex()}"


class BenchSettings(Settings):
    """How much of it acts."""

    middlewares: int = Field(0, ge=0, le=50, description="Request middleware that only passes on.")
    probe: Path | None = Field(None, description="File for the longest time that the event loop did nothing else.")


class BenchPlugin(Plugin[BenchSettings]):
    """Registers both."""

    @hookimpl
    def toolway_authenticators(self, kernel: Kernel) -> Iterable[Authenticator]:
        return [SignedTokens(kernel.clock)]

    @hookimpl
    def toolway_request_middleware(self, kernel: Kernel) -> Iterable[RequestMiddleware]:
        return [PassOn(number) for number in range(self.settings.middlewares)]

    @hookimpl
    def toolway_services(self, kernel: Kernel) -> Iterable[Service]:
        return [LoopProbe(self.settings.probe)] if self.settings.probe else []


class SignedTokens:
    """Verifies tokens."""

    name = "bench"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def authenticate(self, credentials: Credentials, context: AuthContext) -> Authenticated | None:
        if credentials.scheme != "bearer":
            return None
        name = credentials.value.partition(".")[0]
        if not hmac.compare_digest(credentials.value.encode(), token(name).encode()):
            raise Unauthenticated("the token is not one of the benchmark")
        identity = f"bench:{name}"
        principal = Principal(id=identity, kind="service", name=name, credential=identity)
        return Authenticated(principal, self._clock.monotonic() + CACHED_SECONDS, (identity,))


class PassOn:
    """What a middleware costs that does nothing."""

    methods: ClassVar[frozenset[str]] = frozenset({"tools/call"})

    def __init__(self, number: int) -> None:
        self.name = f"pass-on-{number}"

    async def __call__(self, call: Call, call_next: CallNext) -> Reply:
        return await call_next(call)


class LoopProbe:
    """Wakes up every few milliseconds; how late it is, is how long the event loop was busy with something else."""

    name = "loop-probe"

    def __init__(self, file: Path) -> None:
        self._file = file

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()

    async def _watch(self) -> None:
        """Writes the worst so far a few times a second; begins anew when the file is gone."""
        wall = cpu = due = 0.0
        garbage = 0
        while True:
            begin, spent = time.perf_counter(), time.thread_time()
            await asyncio.sleep(PROBE_SECONDS)
            late, busy = time.perf_counter() - begin - PROBE_SECONDS, time.thread_time() - spent
            wall, cpu = max(late, wall), max(busy, cpu)
            if time.monotonic() > due:
                if not self._file.exists():
                    wall, cpu, garbage = 0.0, 0.0, _collected()
                seen = {"wall": wall, "cpu": cpu, "garbage": _collected() - garbage}
                unfinished = self._file.with_suffix(".new")
                unfinished.write_text(json.dumps(seen), encoding="utf-8")
                unfinished.replace(self._file)
                due = time.monotonic() + WRITE_SECONDS


def _collected() -> int:
    """Objects that only the garbage collector could free, so far."""
    return sum(generation["collected"] for generation in gc.get_stats())
