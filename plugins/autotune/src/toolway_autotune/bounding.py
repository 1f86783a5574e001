"""How far values may move: between what the operator set as least and what the upstream declares."""

from __future__ import annotations

from typing import TypeVar

from toolway.hookspecs.attempts import Policy
from toolway_autotune.choices import BACKOFF, HEDGE, IN_FLIGHT, RETRIES
from toolway_autotune.knob import Bounds
from toolway_autotune.plugin import AutotuneSettings, UpstreamTuning

N = TypeVar("N", int, float)


class Bounding:
    """The settings of one upstream."""

    def __init__(self, name: str, settings: AutotuneSettings) -> None:
        own = settings.upstreams.get(name, UpstreamTuning())
        self.mode = own.mode or settings.mode
        self._settings = settings
        self._min_timeout = _first(own.min_timeout, settings.min_timeout)
        self._min_in_flight = _first(own.min_in_flight, settings.min_in_flight)
        self._max_in_flight = _first(own.max_in_flight, settings.max_in_flight)

    def declared(self, key: str, policy: Policy) -> float:
        """The value without tuning; a timeout is the time until the answer must have begun."""
        if key.startswith(HEDGE):
            return policy.hedge_after or self._settings.hedge_after
        return {RETRIES: policy.retries, BACKOFF: policy.backoff, IN_FLIGHT: policy.in_flight}.get(
            key, policy.first_byte
        )

    def of(self, key: str, policy: Policy) -> Bounds:
        """The bounds of a value; never above what is declared, and never below the least but where less is declared."""
        if key == RETRIES:
            return Bounds(0, min(policy.retries, self._settings.max_retries))
        if key == BACKOFF:  # the wait before the last repetition is 2**(retries - 1) times as long
            high = self._settings.max_backoff / 2 ** max(0, min(policy.retries, self._settings.max_retries) - 1)
            return Bounds(min(self._settings.base_backoff, policy.backoff, high), high)
        if key.startswith(HEDGE):
            own = self.declared(key, policy)
            return Bounds(min(self._settings.min_hedge, own, policy.first_byte), policy.first_byte)
        if key == IN_FLIGHT:
            low = min(self._min_in_flight, policy.in_flight)
            return Bounds(low, max(low, min(self._max_in_flight, policy.in_flight)))
        return Bounds(min(self._min_timeout, policy.first_byte), policy.first_byte)


def _first(own: N | None, general: N) -> N:
    return general if own is None else own
