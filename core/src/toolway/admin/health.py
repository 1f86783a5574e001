"""Whether the gateway lives, may get requests, and what is wrong with it."""

from __future__ import annotations

import asyncio
import logging
from typing import Literal

from pydantic import BaseModel, Field

from toolway.admin.context import AdminContext, ReadyCheck
from toolway.admin.operations import Answer, Incoming, operation

log = logging.getLogger(__name__)

CHECK_SECONDS = 2.0


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


@operation("GET", "/health", None)
async def alive(incoming: Incoming) -> dict[Literal["status"], Literal["ok"]]:
    """Tell that the process is alive."""
    return {"status": "ok"}


@operation("GET", "/ready", None, success=(200, 503))
async def ready(incoming: Incoming) -> Answer:
    """Tell whether requests should be sent here: 503 while starting, draining or when a critical check fails."""
    readiness = await _readiness(incoming.context)
    public = [check.model_copy(update={"detail": ""}) for check in readiness.checks]
    return Answer(readiness.model_copy(update={"checks": public}), 200 if readiness.ready else 503)


@operation("GET", "/api/v1/health", "health:read")
async def health(incoming: Incoming) -> HealthReport:
    """Report readiness with details."""
    context = incoming.context
    readiness = await _readiness(context)
    snapshot = context.catalog.snapshot
    states = [view.status for view in snapshot.upstreams.values()]
    return HealthReport(
        **dict(readiness),
        version=context.version,
        snapshot=snapshot.number,
        problems=list(context.catalog.problems),
        upstreams={state: states.count(state) for state in sorted(set(states))},
    )


async def _readiness(context: AdminContext) -> Readiness:
    checks = [_catalog(context), *await asyncio.gather(*(_checked(check) for check in context.checks))]
    phase = context.phase()
    is_ready = phase == "serving" and all(check.ok or not check.critical for check in checks)
    return Readiness(ready=is_ready, phase=phase, checks=checks)


def _catalog(context: AdminContext) -> CheckReport:
    """A catalog that cannot be loaded is only told while an older one is in force."""
    failure, was_loaded = context.catalog.failure, context.catalog.snapshot.number > 0
    return CheckReport(name="catalog", ok=not failure, critical=not was_loaded, detail=failure)


async def _checked(check: ReadyCheck) -> CheckReport:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            detail = await check.check()
    except TimeoutError:
        detail = f"no answer within {CHECK_SECONDS:g} s"
    except Exception:
        log.exception("health check %r failed", check.name)
        detail = "the check itself failed; the log says why"
    return CheckReport(name=check.name, ok=not detail, critical=check.critical, detail=detail)
