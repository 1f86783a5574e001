"""What the instruments of a gateway that a test runs say."""

from __future__ import annotations

from toolway.edge.metrics import Instruments
from toolway_testing.gateway import RunningGateway


def counted(what: RunningGateway | Instruments, name: str, *labels: str) -> float | None:
    """The value of one series of a counter or gauge, as it is now; None if there is none."""
    metrics = what if isinstance(what, Instruments) else what.gateway.kernel.metrics
    metrics.sample()
    found = {each.name: each.series for each in metrics.collect()}[name].get(labels)
    return None if found is None else found[0]
