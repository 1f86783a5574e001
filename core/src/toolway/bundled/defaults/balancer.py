"""The built-in balancer."""

from __future__ import annotations

from collections.abc import Sequence

from toolway.hookspecs.attempts import Attempt
from toolway.hookspecs.routing import Call, Endpoint


class RoundRobin:
    """Takes the endpoints of each upstream in turn."""

    name = "round-robin"

    def __init__(self) -> None:
        self._turns: dict[str, int] = {}

    def pick(self, endpoints: Sequence[Endpoint], call: Call) -> Endpoint:
        """The next one."""
        upstream = call.target.upstream if call.target is not None else ""
        turn = self._turns.get(upstream, -1) + 1
        self._turns[upstream] = turn
        return endpoints[turn % len(endpoints)]

    def done(self, attempt: Attempt) -> None:
        """Nothing is learned."""
