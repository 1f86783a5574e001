"""What the plugin is made of in one gateway, and how the parts know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.plugin import Kernel
from toolway_autotune.choices import PART, Choices
from toolway_autotune.meters import count_changes
from toolway_autotune.operations import AutotuneOperations
from toolway_autotune.rounds import Rounds
from toolway_autotune.tuner import Tuner

if TYPE_CHECKING:
    from toolway_autotune.plugin import AutotuneSettings


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    choices: Choices
    tuner: Tuner
    operations: AutotuneOperations
    rounds: Rounds

    @classmethod
    def of(cls, kernel: Kernel, settings: AutotuneSettings) -> Parts:
        """Everything, for this gateway."""
        choices = Choices(kernel.database, kernel.clock)
        tuner = Tuner(kernel.clock, settings, lambda: kernel.parts[PART])
        count_changes(kernel.metrics, tuner)
        return cls(kernel, choices, tuner, AutotuneOperations(kernel, choices, tuner), Rounds(kernel, tuner, settings))
