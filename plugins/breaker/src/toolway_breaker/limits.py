"""Settings of the plugin: when a circuit opens and for how long, when an endpoint is ejected and for how long."""

from __future__ import annotations

from pydantic import Field, model_validator

from toolway.plugin import Seconds, Settings


class BreakerSettings(Settings):
    """Bounds of circuits and of ejection; the defaults are those of linkerd and Envoy."""

    faults: int = Field(5, ge=1, le=1000, description="Faults in a row that open the circuit of an endpoint.")
    fault_rate: float = Field(0.5, gt=0, le=1, description="Share of faults in `window` that opens it, too.")
    minimum_calls: int = Field(20, ge=1, description="Calls in `window` below which the share does not count.")
    window: Seconds = Field(10.0, ge=1, le=600, description="What the share is of: the last so many seconds.")
    open_time: Seconds = Field(
        5.0, gt=0, description="How long it stays open at first, in seconds; then twice as long."
    )
    max_open_time: Seconds = Field(60.0, gt=0, description="How long it stays open at most, in seconds.")
    jitter: float = Field(0.5, ge=0, le=10, description="Random part of the time that it stays open, of the rest.")
    good_probes: int = Field(2, ge=1, le=100, description="Good answers to single calls that close it.")
    obey_retry_after: bool = Field(
        True, description="Whether a fault with `Retry-After` opens the circuit at once, for that time."
    )
    max_retry_after: Seconds = Field(60.0, gt=0, description="What is believed of `Retry-After`, in seconds.")
    eject_faults: int = Field(5, ge=0, le=1000, description="Faults in a row that eject an endpoint; 0: none is.")
    ejection_time: Seconds = Field(
        30.0, gt=0, description="How long an endpoint is ejected, in seconds, times the number of its ejections."
    )
    max_ejection_time: Seconds = Field(300.0, gt=0, description="How long at most, in seconds.")
    ejection_jitter: float = Field(0.2, ge=0, lt=1, description="Random part of that, up and down.")
    panic_threshold: float = Field(
        0.5, ge=0, le=1, description="Share of endpoints that is never ejected; with less, ejection is ignored."
    )

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> BreakerSettings:
        if self.open_time > self.max_open_time:
            raise ValueError("open_time is longer than max_open_time; make it shorter")
        if self.ejection_time > self.max_ejection_time:
            raise ValueError("ejection_time is longer than max_ejection_time; make it shorter")
        return self
