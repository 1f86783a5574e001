"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.plugin import Kernel
from toolway_audit.buffer import Buffer
from toolway_audit.chain import Chain
from toolway_audit.marks import Marks
from toolway_audit.operations import AuditOperations
from toolway_audit.recorder import AuditRecorder
from toolway_audit.retention import Retention
from toolway_audit.search import Search
from toolway_audit.verifying import Verifier
from toolway_audit.writer import Writer
from toolway_audit.writing import Scribe

if TYPE_CHECKING:
    from toolway_audit.plugin import AuditSettings

DAY = 86400.0


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    chain: Chain
    buffer: Buffer
    recorder: AuditRecorder
    writer: Writer
    retention: Retention
    verifier: Verifier
    search: Search
    operations: AuditOperations

    @classmethod
    def of(cls, kernel: Kernel, settings: AuditSettings) -> Parts:
        """Everything, for this gateway."""
        scribe, marks = Scribe(kernel.node, kernel.redact, kernel.secrets.schemes), Marks(kernel.seal)
        chain, buffer = Chain(kernel.database, marks, scribe), Buffer(settings.buffer)
        verifier, search = Verifier(kernel.database, chain, marks), Search(kernel.database, marks)
        return cls(
            kernel,
            chain,
            buffer,
            AuditRecorder(chain, scribe, kernel.clock),
            Writer(kernel.database, chain, scribe, buffer, kernel.clock, settings.interval, kernel.metrics),
            Retention(kernel, chain, marks, scribe, settings.retention_days * DAY),
            verifier,
            search,
            AuditOperations(search, verifier),
        )
