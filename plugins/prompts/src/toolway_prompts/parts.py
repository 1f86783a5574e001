"""What the plugin is made of in one gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from toolway.plugin import Kernel
from toolway_prompts.entities import CollectionEntity
from toolway_prompts.kept import KeptPool
from toolway_prompts.kind import PromptsKind
from toolway_prompts.operations import PromptOperations
from toolway_prompts.pool import Bounds
from toolway_prompts.rendering import Renderer

if TYPE_CHECKING:
    from toolway_prompts.plugin import PromptsSettings


class Parts(msgspec.Struct, frozen=True):
    """One of each."""

    kernel: Kernel
    kind: PromptsKind
    entity: CollectionEntity
    operations: PromptOperations

    @classmethod
    def of(cls, kernel: Kernel, settings: PromptsSettings) -> Parts:
        """Everything, for this gateway."""
        bounds = Bounds(settings.cpu_seconds, settings.seconds, settings.memory_mib * 1024 * 1024)
        pool = KeptPool(kernel, bounds, settings.workers)
        renderer = Renderer(pool, settings.output_kib * 1024)
        kind = PromptsKind(renderer)
        return cls(kernel, kind, CollectionEntity(kernel, pool, kind), PromptOperations(kernel, renderer, kind))
