"""The built-in first link of the policy chain."""

from __future__ import annotations

from toolway.hookspecs.attempts import Policy
from toolway.hookspecs.routing import Call, Upstream


class FixedPolicy:
    """What the upstream's settings say."""

    name = "fixed"

    def __init__(self) -> None:
        self._made: dict[int, tuple[Upstream, Policy]] = {}

    def adjust(self, policy: Policy, upstream: Upstream, call: Call) -> Policy:
        """The policy of this upstream, made once."""
        known = self._made.get(id(upstream))
        if known is None or known[0] is not upstream:
            settings = upstream.settings
            made = Policy(
                first_byte=settings.timeouts.first_byte,
                total=settings.timeouts.total,
                retries=settings.retries,
                in_flight=settings.in_flight,
                queue=policy.queue,
                queue_wait=policy.queue_wait,
            )
            if len(self._made) > 1000:
                self._made.clear()
            known = self._made[id(upstream)] = (upstream, made)
        return known[1]
