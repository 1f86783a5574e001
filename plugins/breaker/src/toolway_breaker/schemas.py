"""What the API of breakers takes and answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toolway.hookspecs.routing import Upstream
from toolway_breaker.breakers import Breakers, Watched


class OneEndpoint(BaseModel):
    """Which endpoint of the upstream."""

    model_config = ConfigDict(extra="forbid")

    endpoint: str = Field("", max_length=4096, description="The URL of the endpoint, or `local`; empty for all.")


class EndpointReport(BaseModel):
    """The circuit of one endpoint, and whether it is ejected, as the answering node sees it."""

    endpoint: str
    state: Literal["closed", "open", "half-open"] = "closed"
    reason: str = Field("", description="Why the circuit is in this state; empty for one that never was in another.")
    by_hand: bool = Field(False, description="Whether it stays open until somebody closes it.")
    retry_in: float = Field(0.0, description="Seconds until the next call may be made; 0 when it may now.")
    faults: int = Field(0, description="Faults in a row.")
    openings: int = Field(0, description="How often it opened since it was last closed; each time for longer.")
    ejected_for: float = Field(0.0, description="Seconds until its ejection ends; 0 when it is not ejected.")
    ejections: int = Field(0, description="How often it was ejected lately; each time for longer.")


class BreakerReport(BaseModel):
    """The breakers of one upstream."""

    name: str = Field(description="The upstream.")
    state: Literal["closed", "degraded", "open"] = Field(
        description="`open`: no endpoint may be called now; `degraded`: some circuit is not closed, or one is ejected."
    )
    endpoints: list[EndpointReport]


def report(upstream: Upstream, breakers: Breakers, now: float) -> BreakerReport:
    """What is known of an upstream; endpoints that nobody tried are closed."""
    watch = breakers.watched.get(upstream.name)
    known = watch.endpoints if watch else {}
    endpoints = [_endpoint(each.id, known.get(each.id), now) for each in upstream.endpoints]
    is_ill = any(each.state != "closed" or each.ejected_for for each in endpoints)
    is_open = bool(endpoints) and all(each.retry_in for each in endpoints)
    return BreakerReport(
        name=upstream.name, state="open" if is_open else "degraded" if is_ill else "closed", endpoints=endpoints
    )


def _endpoint(name: str, one: Watched | None, now: float) -> EndpointReport:
    if one is None:
        return EndpointReport(endpoint=name)
    circuit, ejection = one.circuit, one.ejection
    return EndpointReport(
        endpoint=name,
        state=circuit.state,
        reason=circuit.reason,
        by_hand=circuit.is_held,
        retry_in=round(circuit.wait(now), 3),
        faults=circuit.faults,
        openings=circuit.openings,
        ejected_for=round(max(0.0, ejection.until - now), 3),
        ejections=ejection.times,
    )
