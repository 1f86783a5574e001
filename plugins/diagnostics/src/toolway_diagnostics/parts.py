"""What belongs to one gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolway.plugin import Kernel
from toolway_diagnostics.metrics import MetricSnapshot
from toolway_diagnostics.operations import DiagnosticsOperations
from toolway_diagnostics.slow_calls import SlowCalls
from toolway_diagnostics.watch import Watch

if TYPE_CHECKING:
    from toolway_diagnostics.plugin import DiagnosticsSettings


@dataclass(frozen=True)
class Parts:
    """Everything that the hooks register."""

    kernel: Kernel
    snapshot: MetricSnapshot
    slow_calls: SlowCalls
    watch: Watch
    operations: DiagnosticsOperations

    @classmethod
    def of(cls, kernel: Kernel, settings: DiagnosticsSettings) -> Parts:
        """Made of the settings."""
        snapshot, slow_calls, watch = MetricSnapshot(), SlowCalls(settings.slow, kernel.clock), Watch(kernel)
        operations = DiagnosticsOperations(kernel, watch, snapshot, slow_calls)
        return cls(kernel, snapshot, slow_calls, watch, operations)
