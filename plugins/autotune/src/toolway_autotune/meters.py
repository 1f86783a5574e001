"""What is counted for whoever watches the gateway: values that changed, or would have."""

from __future__ import annotations

from toolway.hookspecs.telemetry import Metrics
from toolway_autotune.choices import VALUES
from toolway_autotune.events import Event
from toolway_autotune.tuner import Tuner


def count_changes(metrics: Metrics, tuner: Tuner) -> None:
    """By upstream and value; what somebody chose is `chosen`."""
    by = {"upstream": None, "value": (*VALUES, "mode"), "outcome": ("applied", "observed", "chosen")}
    counter = metrics.counter("toolway_autotune_changes_total", "Values that changed, or would have.", by)

    def heard(event: Event) -> None:
        outcome = "chosen" if event.actor else "applied" if event.mode == "apply" else "observed"
        counter.add(1, event.upstream, event.value.partition(":")[0], outcome)

    tuner.heard = heard
