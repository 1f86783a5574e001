"""What works together in one gateway, made once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolway.plugin import Kernel
from toolway_json_logging.access import AccessLog
from toolway_json_logging.correlation import Correlation
from toolway_json_logging.followed import Followed
from toolway_json_logging.handler import QueuedHandler, chosen_lines
from toolway_json_logging.operations import LoggerOperations
from toolway_json_logging.tending import Tending

if TYPE_CHECKING:
    from toolway_json_logging.plugin import JsonLoggingSettings

DESCRIPTORS = {"stdout": 1, "stderr": 2}


@dataclass(frozen=True)
class Parts:
    """Of one gateway."""

    kernel: Kernel
    handler: QueuedHandler
    correlation: Correlation
    access: AccessLog | None
    operations: LoggerOperations
    tending: Tending

    @classmethod
    def of(cls, kernel: Kernel, settings: JsonLoggingSettings) -> Parts:
        """Make them."""
        descriptor, clock = DESCRIPTORS[settings.output], kernel.clock
        lines = chosen_lines(settings.format, kernel.redact, descriptor, os.environ.get)
        handler = QueuedHandler(lines, descriptor, settings.queue)
        access, share = None, settings.access_share if settings.access == "all" else 0.0
        if settings.access != "none":
            tell, begun, quiet = handler.tell, handler.writer.put, settings.access_quiet
            access = AccessLog(tell, begun, clock.now, clock.monotonic, share=share, quiet=quiet)
        followed = Followed(kernel, settings.levels)
        tending = Tending(kernel, handler, access, followed)
        in_flight = access.in_flight if access is not None else None
        correlation = Correlation(in_flight, clock.monotonic, trust=settings.trust_request_id)
        return cls(kernel, handler, correlation, access, LoggerOperations(followed), tending)
