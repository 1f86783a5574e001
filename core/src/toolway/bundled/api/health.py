"""Health of one node: is the process alive, should it get requests, and what should administrators know."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Literal

from pydantic import BaseModel, Field
from starlette.responses import Response

from toolway import __version__
from toolway.hookspecs.api import PUBLIC, Incoming, Operation, document
from toolway.hookspecs.system import HealthCheck
from toolway.plugin import Kernel

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0


class Alive(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class CheckReport(BaseModel):
    """The result of one check."""

    name: str
    ok: bool
    critical: bool = Field(description="Whether the node is not ready while this fails.")
    detail: str = Field("", description="What is wrong; empty in public answers.")


class Readiness(BaseModel):
    """Whether requests should be sent here."""

    ready: bool
    phase: Literal["starting", "serving", "draining"]
    checks: list[CheckReport]


class HealthReport(Readiness):
    """Readiness with details, and what administrators should know."""

    version: str
    snapshot: int = Field(description="Number of the catalog snapshot.")
    problems: list[str] = Field(description="What of the catalog is not in force, and why.")
    upstreams: dict[str, int] = Field(description="How many upstreams have which status.")


class Health:
    """The operations that tell how this node is."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def operations(self) -> list[Operation]:
        """For load balancers, and for administrators."""
        return [
            Operation("GET", "/health", PUBLIC, self.alive, answer=Alive),
            Operation("GET", "/ready", PUBLIC, self.ready, answer=Readiness, success=(200, 503)),
            Operation("GET", "/api/v1/health", "health:read", self.health, answer=HealthReport),
        ]

    async def alive(self, incoming: Incoming) -> Alive:
        """Tell that the process is alive."""
        return Alive()

    async def ready(self, incoming: Incoming) -> Response:
        """Tell whether requests should be sent here: 503 while starting, draining or when a critical check fails."""
        readiness = await self._readiness()
        for check in readiness.checks:
            check.detail = ""
        return document(readiness, 200 if readiness.ready else 503)

    async def health(self, incoming: Incoming) -> HealthReport:
        """Report readiness with details."""
        readiness, catalog = await self._readiness(), self._kernel.catalog
        states = [view.status for view in catalog.snapshot.upstreams.values()]
        return HealthReport(
            **dict(readiness),
            version=__version__,
            snapshot=catalog.snapshot.number,
            problems=[self._kernel.redact(each) for each in catalog.problems],
            upstreams={state: states.count(state) for state in sorted(set(states))},
        )

    async def _readiness(self) -> Readiness:
        checks = await asyncio.gather(*(_checked(check, self._kernel.redact) for check in self._kernel.health_checks))
        phase = self._kernel.phase
        is_ready = phase == "serving" and all(check.ok or not check.critical for check in checks)
        return Readiness(ready=is_ready, phase=phase, checks=checks)


async def _checked(check: HealthCheck, redact: Callable[[str], str]) -> CheckReport:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            detail = redact(await check.check())
    except TimeoutError:
        detail = f"no answer within {CHECK_SECONDS:g} s"
    except Exception:
        log.exception("health check %r failed", check.name)
        detail = "the check itself failed; the log says why"
    return CheckReport(name=check.name, ok=not detail, critical=check.critical, detail=detail)
