"""What the API takes and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolway.hookspecs.api import NoQuery
from toolway_autotune.choices import OF_TOOLS
from toolway_autotune.deciding import keys
from toolway_autotune.events import KEPT, Event
from toolway_autotune.knob import Knob
from toolway_autotune.tuned_upstream import TunedUpstream

Value = Literal["timeout", "retries", "backoff", "in_flight", "hedge_after"]


class Selection(BaseModel):
    """Which values; all of them when none is named."""

    model_config = ConfigDict(extra="forbid")

    value: Value | None = Field(None, description="One of them.")
    tool: str = Field(
        "", max_length=512, description="Of a timeout or hedge: that of one tool; empty for those of all."
    )


class Pin(Selection):
    """What stays, and at what."""

    to: float | None = Field(None, ge=0, description="At what; by default what is in force now.")


class EventQuery(NoQuery):
    """How many."""

    limit: int = Field(KEPT, ge=1, le=KEPT, description="The newest so many.")


class ValueView(BaseModel):
    """One value: seconds for timeouts and waits, a number for the others."""

    value: Value
    tool: str = Field(description="Of a timeout or hedge: whose.")
    in_force: float = Field(description="What is used.")
    declared: float = Field(description="What the upstream declares.")
    tuned: float = Field(description="What is used, or would be, if it is not pinned.")
    low: float = Field(description="The least that tuning sets.")
    high: float = Field(description="The most that tuning sets.")
    pinned: bool
    calls: float | None = Field(description="Of a timeout or hedge: about how many calls it was learned from.")
    p50: float | None = Field(description="Of a timeout or hedge: half of the calls take no longer, in seconds.")
    p99: float | None = Field(description="Of a timeout or hedge: 99 of 100 calls take no longer, in seconds.")


class TunedView(BaseModel):
    """An upstream, as far as this node knows it."""

    name: str
    mode: Literal["observe", "apply"]
    running: int = Field(description="Attempts in flight, on this node.")
    exhausted: bool = Field(description="Whether so much fails that nothing is repeated.")
    values: list[ValueView]


class EventView(BaseModel):
    """Something changed, or with the mode `observe` would have."""

    at: datetime
    value: str = Field(description="What; `mode` for the mode.")
    tool: str
    before: float | str | None
    after: float | str | None = Field(description="None is what is declared or configured.")
    reason: str
    mode: str = Field(description="The mode at that time.")
    actor: str = Field(description="Who chose it; empty for tuning itself.")


def view(upstream: TunedUpstream) -> TunedView:
    """How the API shows an upstream."""
    values = [_value(upstream, key) for key in keys(upstream)]
    return TunedView(
        name=upstream.name,
        mode="apply" if upstream.mode == "apply" else "observe",
        running=upstream.in_flight,
        exhausted=upstream.budget.is_exhausted,
        values=values,
    )


def event_view(event: Event) -> EventView:
    """How the API shows an event."""
    return EventView(
        at=datetime.fromtimestamp(event.at, UTC),
        value=event.value,
        tool=event.tool,
        before=event.before,
        after=event.after,
        reason=event.reason,
        mode=event.mode,
        actor=event.actor,
    )


def _value(upstream: TunedUpstream, key: str) -> ValueView:
    value, _, tool = key.partition(":")
    policy, histogram = upstream.declared, upstream.tools.get(tool) if value in OF_TOOLS else None
    own, bounds = upstream.bounding.declared(key, policy), upstream.bounding.of(key, policy)
    tuned = bounds.clamp(own) if value == "retries" else upstream.knobs.get(key, Knob()).present(own, bounds)
    return ValueView(
        value=value,
        tool=tool,
        in_force=upstream.in_force(key, policy),
        declared=own,
        tuned=tuned,
        low=bounds.low,
        high=bounds.high,
        pinned=upstream.choice.holds(key),
        calls=None if histogram is None else round(histogram.total, 1),
        p50=None if histogram is None else histogram.percentile(0.5),
        p99=None if histogram is None else histogram.percentile(0.99),
    )
