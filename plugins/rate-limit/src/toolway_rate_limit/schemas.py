"""What the API tells about limits and load."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Holder(BaseModel):
    """Who uses most of a limit."""

    key: str = Field(description="What is counted: a principal, team, server, upstream or tool, or `*` for all.")
    count: int = Field(description="Tokens that are left, or calls in flight.")


class RuleView(BaseModel):
    """A rule, and how it is doing on this node."""

    name: str = Field(description="The rule's name.")
    by: list[str] = Field(description="What is counted apart.")
    rate: str | None = Field(description="Calls per time.")
    burst: int | None = Field(description="Calls at once after a pause.")
    concurrent: int | None = Field(description="Calls in flight.")
    refused: int = Field(description="Calls that it refused since the start.")
    emptiest: list[Holder] = Field(description="Those with the fewest tokens left; on this node, where it is shared.")
    fullest: list[Holder] = Field(description="Those with the most calls in flight, where they are limited.")


class LoadView(BaseModel):
    """How much this node has to do, and what it refuses because of that."""

    enabled: bool = Field(description="Whether load is shed.")
    level: float = Field(description="0 without overload; from 1/3 on some normal calls are refused, 1 is the most.")
    lag: float = Field(description="Delay of the event loop, 99th percentile of 5 s, in seconds.")
    in_flight: int = Field(description="Calls in flight.")
    shed: dict[str, int] = Field(description="Calls that were refused since the start, by priority.")


class RateLimitsView(BaseModel):
    """All of it, of one node."""

    node: str = Field(description="The process that answers.")
    counted: Literal["alone", "shared"] = Field(description="Whether nodes count together.")
    store: Literal["works", "away"] | None = Field(description="The key-value store, where they do.")
    nodes: int = Field(description="Nodes that count together.")
    rules: list[RuleView] = Field(description="In the order of the settings.")
    load: LoadView = Field(description="Load shedding.")
