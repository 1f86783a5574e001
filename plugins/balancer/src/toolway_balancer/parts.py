"""What one gateway has of this plugin."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from toolway.plugin import Kernel
from toolway_balancer.balancer import AdaptiveBalancer
from toolway_balancer.health_checks import HealthChecks
from toolway_balancer.meters import Meters
from toolway_balancer.operations import Operations
from toolway_balancer.settings import BalancerSettings


@dataclass(frozen=True)
class Parts:
    """They share the state of the endpoints."""

    kernel: Kernel
    balancer: AdaptiveBalancer
    checks: HealthChecks
    operations: Operations
    meters: Meters

    @classmethod
    def of(cls, kernel: Kernel, settings: BalancerSettings) -> Parts:
        """For one gateway."""
        random = Random()
        balancer = AdaptiveBalancer(kernel.catalog, kernel.clock, settings, random)
        meters = Meters(kernel.metrics, balancer)
        checks = HealthChecks(kernel, balancer, settings, random)
        return cls(kernel, balancer, checks, Operations(balancer, kernel, settings), meters)
