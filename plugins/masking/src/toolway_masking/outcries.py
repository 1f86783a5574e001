"""What Python itself would write to standard error: failed threads, failures that nobody can catch, warnings."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

log = logging.getLogger("toolway.masking")


class Outcries:
    """Has them logged, and so redacted, while a gateway of this process runs."""

    name = "masking"
    _running: ClassVar[int] = 0
    _before: ClassVar[tuple[Any, Any]]

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """See `Service`; during a reload two gateways run."""
        every = type(self)
        every._running += 1
        if every._running == 1:
            every._before = threading.excepthook, sys.unraisablehook
            threading.excepthook, sys.unraisablehook = _thread_failed, _ignored
            logging.captureWarnings(True)
        try:
            yield
        finally:
            every._running -= 1
            if every._running == 0:
                threading.excepthook, sys.unraisablehook = every._before
                logging.captureWarnings(False)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        name = failed.thread.name if failed.thread is not None else "?"
        log.error("the thread %s failed", name, exc_info=failed.exc_value)


def _ignored(failed: UnraisableHookArgs) -> None:
    log.error("%s: %r", failed.err_msg or "a failure was ignored in", failed.object, exc_info=failed.exc_value)
