"""Settings: what is kept, for how long, and how much of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from toolway.plugin import Seconds, Settings

Pattern = Annotated[str, Field(min_length=1, max_length=1024)]
Lifetime = Annotated[Seconds, Field(le=86_400)]


class Lifetimes(BaseModel):
    """How long results are fresh, in seconds, where the upstream does not say so itself; 0 keeps none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tools: Lifetime = Field(10.0, description="Of tools that say that they only read (`readOnlyHint`).")
    resources: Lifetime = Field(60.0, description="Of resources.")
    prompts: Lifetime = Field(60.0, description="Of prompts.")


class RuleSettings(BaseModel):
    """What is different for some items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    items: tuple[Pattern, ...] = Field(
        min_length=1, description="Patterns over `upstream/item`, the item's own name or URI; `*` matches anything."
    )
    ttl: Lifetime | None = Field(None, description="Seconds that their results are fresh; 0 keeps none.")
    override: bool = Field(False, description="Whether `ttl` holds even if the upstream says something else.")
    share: bool = Field(False, description="Whether everybody who may use them gets the same results.")
    read_only: bool | None = Field(
        None, description="Whether these tools only read, whatever they say of themselves; without: what they say."
    )


class CacheSettings(Settings):
    """What is kept, for how long, and how much of it; the first rule that matches an item is its rule."""

    ttl: Lifetimes = Field(Lifetimes(), description="How long results are fresh, where the upstream does not say.")
    rules: tuple[RuleSettings, ...] = Field((), max_length=200, description="What is different for some items.")
    longest: Lifetime = Field(3600.0, description="Longest lifetime that an upstream can ask for, in seconds.")
    jitter: float = Field(0.1, ge=0, le=0.5, description="Lifetimes are shorter by up to this part, at random.")
    stale: Lifetime = Field(
        30.0,
        le=3600,
        description="Seconds after its lifetime during which a copy is the answer while a new one is fetched, and if "
        "that fails.",
    )
    refreshes: int = Field(
        32,
        ge=0,
        le=1000,
        description="Most copies that each node renews in the background at the same time; 0: callers fetch them.",
    )
    failures: Seconds = Field(1.0, le=60, description="Seconds that a failure of an upstream is the answer.")
    writes_invalidate: bool = Field(
        True, description="Whether the call of a tool that may change something drops what is kept of its upstream."
    )
    memory: int = Field(64 * 1024 * 1024, ge=1024 * 1024, description="Most bytes of all copies on each node.")
    largest: int = Field(1024 * 1024, ge=1024, description="Longest result that is kept, in bytes.")
    shared: bool = Field(False, description="Keep copies in the key-value store too, sealed, for all nodes.")
    store_wait: Seconds = Field(
        0.25, gt=0, le=10, description="Longest wait of a call for the store, before it does without."
    )
    shared_wait: Seconds = Field(
        5.0,
        le=60,
        description="Longest wait for another node that makes the same call, where copies are shared; 0: none.",
    )
    ignored_meta: tuple[str, ...] = Field(
        ("traceparent", "tracestate", "baggage", "claudecode/toolUseId"),
        description="Members of `_meta` that make no difference to results; those of MCP itself never do.",
    )
