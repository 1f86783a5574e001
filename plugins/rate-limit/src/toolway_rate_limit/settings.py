"""What can be set: rules, how they are counted, and when load is shed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from toolway.plugin import Name, Seconds, Settings
from toolway_rate_limit.rate import Rate, RateText

By = Literal["principal", "team", "server", "upstream", "tool", "global"]
Method = Literal["tools/call", "prompts/get", "resources/read", "completion/complete"]
Pattern = Annotated[str, Field(min_length=1, max_length=1024)]
Patterns = tuple[Pattern, ...]


class Selection(BaseModel):
    """Which calls; what is empty leaves nothing out. In patterns `*` matches anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    principals: Patterns = Field((), description="Ids of principals, such as `user:alice`, `key:*` or `anonymous`.")
    teams: Patterns = Field((), description="Names of teams, of which the principal is in one at least.")
    servers: Patterns = Field((), description="Names of virtual servers.")
    upstreams: Patterns = Field((), description="Names of upstreams.")
    tools: Patterns = Field((), description="Canonical names of tools (`upstream/tool`).")
    methods: tuple[Method, ...] = Field((), description="Methods of MCP.")


class RuleSettings(Selection):
    """A limit on the calls that it selects, for each value of what they are counted `by`."""

    name: Name = Field(description="What the rule is called in headers, messages and reports.")
    by: tuple[By, ...] = Field(
        ("principal",), min_length=1, description="What is counted apart; several are counted in combination."
    )
    rate: RateText | None = Field(None, description="Calls per time, such as `600/m`.")
    burst: int | None = Field(None, ge=1, description="Calls at once after a pause; twice the number of `rate`.")
    concurrent: int | None = Field(None, ge=1, description="Calls in flight.")

    @model_validator(mode="before")
    @classmethod
    def _one_is_a_list(cls, values: object) -> object:
        if isinstance(values, dict) and isinstance(values.get("by"), str):
            return {**values, "by": (values["by"],)}
        return values

    @model_validator(mode="after")
    def _limits_something(self) -> RuleSettings:
        if self.rate is None and self.concurrent is None:
            raise ValueError(f"rule {self.name!r} limits nothing; give it a rate or concurrent")
        if self.rate is None and self.burst is not None:
            raise ValueError(f"rule {self.name!r} has a burst without a rate; give it one")
        if len(set(self.by)) != len(self.by) or ("global" in self.by and len(self.by) > 1):
            raise ValueError(f"rule {self.name!r} is counted by {', '.join(self.by)}; name each once, or global alone")
        return self

    @property
    def most(self) -> int:
        """Calls at once after a pause."""
        return self.burst or (2 * self.rate.calls if self.rate else 1)

    @property
    def is_personal(self) -> bool:
        """Whether the caller, or a team of theirs, has a count of their own; others would tell what strangers do."""
        return not {"principal", "team"}.isdisjoint(self.by)


class SheddingSettings(BaseModel):
    """When calls are refused because the gateway has too much to do, and which ones first and last."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="Whether load is shed.")
    lag: Seconds = Field(0.25, gt=0, le=10, description="Delay of the event loop (p99 over 5 s) from which it is.")
    in_flight: int = Field(
        750, ge=1, description="Calls in flight from which it is: the first ones at 80 % of it, the last ones never."
    )
    least: int = Field(
        32, ge=0, description="Calls in flight up to which none but the first ones are refused because of the delay."
    )
    hold: Seconds = Field(
        0.5,
        ge=0,
        le=5,
        description="How long refusals are held back on average, so that who comes back at once does less harm.",
    )
    first: tuple[Selection, ...] = Field(
        (Selection(methods=("completion/complete",)),), description="Calls that give way before all others."
    )
    last: tuple[Selection, ...] = Field((), description="Calls that give way after all others.")


class RateLimitSettings(Settings):
    """Every rule holds: a call is refused when one of them says so."""

    rules: tuple[RuleSettings, ...] = Field(
        (RuleSettings(name="principals", rate=Rate(600, "m"), burst=1200),),
        max_length=100,
        description="The limits; naming some replaces the default one, 600 calls per minute for each principal.",
    )
    keys: int = Field(10_000, ge=100, le=1_000_000, description="Values that each rule remembers, on each node.")
    shared: bool = Field(False, description="Count together with all nodes, in the key-value store.")
    store_wait: Seconds = Field(
        0.25, gt=0, le=10, description="Longest wait of a call for the store, before limits of this node hold instead."
    )
    headers: bool = Field(True, description="Tell callers with every answer what is left of their rates.")
    shedding: SheddingSettings = Field(default_factory=SheddingSettings, description="What happens under overload.")

    @model_validator(mode="after")
    def _names_differ(self) -> RateLimitSettings:
        names = [rule.name for rule in self.rules]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"there are two rules {twice[0]!r}; give each a name of its own")
        return self
