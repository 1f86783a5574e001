"""What a check found."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, Field

from toolway.plugin import Kernel, ToolwayError

log = logging.getLogger(__name__)

CHECK_SECONDS = 8.0
Level = Literal["ok", "warning", "error"]


class Finding(BaseModel):
    """One thing that was looked at."""

    check: str = Field(description="What was looked at, such as `database`.")
    level: Level = Field(description="`error`: something does not work; `warning`: something soon will not.")
    found: str = Field(description="What was found.")
    todo: str = Field("", description="What to do about it; empty when nothing is wrong.")


Check = Callable[[Kernel], Awaitable[Sequence[Finding]]]


def good(check: str, found: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check=check, level="ok", found=found)


def warning(check: str, found: str, todo: str) -> Finding:
    """Something soon does not work, or is not as safe as it could be."""
    return Finding(check=check, level="warning", found=found, todo=todo)


def error(check: str, found: str, todo: str) -> Finding:
    """Something does not work."""
    return Finding(check=check, level="error", found=found, todo=todo)


def above(check: str, value: float, bounds: tuple[float, float], found: str, todo: str) -> Finding:
    """A value that is a warning from the first bound on, and an error from the second."""
    if value < bounds[0]:
        return good(check, found)
    return (warning if value < bounds[1] else error)(check, found, todo)


async def run(checks: Iterable[tuple[str, Check]], kernel: Kernel, seconds: float = CHECK_SECONDS) -> list[Finding]:
    """What all of them find, redacted; one that fails or takes longer is a finding itself."""
    found = await asyncio.gather(*(_run(name, check, kernel, seconds) for name, check in checks))
    return [_redacted(finding, kernel.redact) for findings in found for finding in findings]


async def _run(name: str, check: Check, kernel: Kernel, seconds: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(seconds):
            return await check(kernel)
    except TimeoutError:
        return [error(name, f"no answer within {seconds:g} s", "look at the load of the machine, then try again")]
    except ToolwayError as failure:
        return [error(name, failure.message, "see what the message says and the log")]
    except Exception as failure:
        log.exception("the check %r failed", name)
        return [error(name, f"the check itself failed: {type(failure).__name__}", "see the log, and report it")]


def _redacted(finding: Finding, redact: Callable[[str], str]) -> Finding:
    return finding.model_copy(update={"found": redact(finding.found), "todo": redact(finding.todo)})
