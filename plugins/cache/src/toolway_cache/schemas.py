"""What the API of the cache takes and answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Method = Literal["tools/call", "prompts/get", "resources/read"]


class Uses(BaseModel):
    """How often copies were of use on the node that answers, since it started."""

    hits: int = Field(0, description="Calls that a fresh copy answered.")
    stale: int = Field(0, description="Calls that an old copy answered, while a new one was fetched or could not be.")
    joined: int = Field(0, description="Calls that got the answer of somebody else's call.")
    misses: int = Field(0, description="Calls that went to the upstream.")
    refreshes: int = Field(0, description="Calls that the cache made itself, for new copies in place of old ones.")
    evictions: int = Field(0, description="Copies that went because there was no room for all.")
    entries: int = Field(0, description="Copies that are kept now.")
    bytes: int = Field(0, description="Memory that they take.")
    oldest: float = Field(0.0, description="Seconds since the oldest of them was fetched.")


class Named(Uses):
    """Those of one server or upstream."""

    name: str


class CacheReport(Uses):
    """All that is kept on the node that answers, of the upstreams that the caller may see."""

    node: str = Field(description="The process that answers.")
    memory: int = Field(description="Bytes that all copies may take.")
    shared: bool = Field(description="Whether copies are in the key-value store too.")
    servers: list[Named]
    upstreams: list[Named]


class CachedItem(Uses):
    """Those of one tool, prompt or resource on one server."""

    name: str = Field(description="`upstream/item`.")
    server: str
    upstream: str
    method: Method


class EntryReport(BaseModel):
    """One copy, without what is in it."""

    name: str = Field(description="`upstream/item`.")
    key: str = Field(description="Names the copy.")
    server: str
    upstream: str
    method: Method
    principal: str = Field(description="Whose it is; empty if everybody may have it.")
    kind: Literal["result", "fault", "failure"]
    bytes: int
    hits: int
    age: float = Field(description="Seconds since it was fetched.")
    fresh_for: float = Field(description="Seconds that it is still fresh; negative when it is old.")


class Flush(BaseModel):
    """Which copies to drop: those that match all that is given. `everything` stands for no restriction."""

    model_config = ConfigDict(extra="forbid")

    upstream: str = Field("", max_length=48, description="Of this upstream.")
    server: str = Field("", max_length=48, description="Of calls through this server.")
    items: str = Field("", max_length=1024, description="Of these, a pattern over `upstream/item`.")
    method: Method | None = Field(None, description="Of this method.")
    key: str = Field("", pattern=r"^([0-9a-f]{4,32})?$", description="The one whose key begins so.")
    everything: bool = False

    @model_validator(mode="after")
    def _says_what(self) -> Flush:
        if not (self.upstream or self.server or self.items or self.method or self.key or self.everything):
            raise ValueError('name an upstream, server, items, method or key, or send {"everything": true}')
        return self


class DroppedOn(BaseModel):
    """What one node dropped."""

    node: str
    removed: int


class Flushed(BaseModel):
    """What was dropped."""

    removed: int = Field(description="Copies that are gone from the memory of all nodes that said so.")
    nodes: list[DroppedOn] = Field(description="How many of them on which node.")
    silent: list[str] = Field(
        description="Nodes that did not say so within 2 s, or `others` when the store cannot tell which there are; "
        "those that run drop theirs when they hear of it."
    )
    upstreams: list[str] = Field(description="Whose copies were looked at.")


class WarmCall(BaseModel):
    """A call whose result is to be kept."""

    model_config = ConfigDict(extra="forbid")

    server: str = Field(max_length=48, description="Through this server.")
    method: Method = "tools/call"
    name: str = Field(min_length=1, max_length=4096, description="The name, or URI, that the server shows.")
    arguments: dict[str, Any] = {}
    era: Literal["modern", "legacy"] = Field("modern", description="For which clients: since 2026-07-28, or older.")


class Warm(BaseModel):
    """Calls to make, as whoever sends this: what is not for all is kept for them alone."""

    model_config = ConfigDict(extra="forbid")

    calls: list[WarmCall] = Field(min_length=1, max_length=200)


class Warmed(BaseModel):
    """What became of one of them."""

    server: str
    name: str
    era: str
    outcome: Literal["kept", "fresh", "not kept", "failed"] = Field(
        description="`fresh`: there was a copy already; `not kept`: it was answered, and there is no copy."
    )
    reason: str = ""


class WarmReport(BaseModel):
    """What became of all of them, in their order."""

    calls: list[Warmed]
