"""How many repetitions an upstream can bear."""

from __future__ import annotations

from collections.abc import Sequence

from toolway.hookspecs.routing import Endpoint

WINDOW_SECONDS = 10.0
MAX_TOKENS, TOKEN_RATIO = 10.0, 0.1
"""Of gRPC (proposal A6, retry throttling): a failure costs a token, a success gives back a tenth of one."""


class RetryBudget:
    """Two bounds: a share of the calls of the last 10 to 20 s, and none at all while most attempts fail everywhere.

    The first is that of Envoy (`budget_percent`, `min_retry_concurrency`), over time instead of at once: nothing is
    left behind by calls that are cancelled while they wait for their repetition. The second is counted for each
    endpoint: that one of them is gone is no reason not to try another.
    """

    __slots__ = (
        "_calls",
        "_minimum",
        "_past_calls",
        "_past_retries",
        "_retries",
        "_share",
        "_tokens",
        "_until",
        "is_exhausted",
    )

    def __init__(self, share: float, minimum: int) -> None:
        self._share = share
        self._minimum = minimum
        self.is_exhausted = False
        self._tokens: dict[Endpoint, float] = {}
        self._until = 0.0
        self._calls = self._past_calls = 0
        self._retries = self._past_retries = 0

    def began(self, now: float) -> None:
        """A call began."""
        self._roll(now)
        self._calls += 1

    def ended(self, endpoint: Endpoint, among: Sequence[Endpoint], *, failed: bool) -> None:
        """An attempt on one of those ended; tool errors and other answers are no failures."""
        tokens = self._tokens.get(endpoint, MAX_TOKENS)
        self._tokens[endpoint] = max(0.0, tokens - 1) if failed else min(MAX_TOKENS, tokens + TOKEN_RATIO)
        if len(self._tokens) > len(among):
            self._tokens = {each: self._tokens[each] for each in among if each in self._tokens}
        if failed or self.is_exhausted:
            self.is_exhausted = all(self._tokens.get(each, MAX_TOKENS) <= MAX_TOKENS / 2 for each in among)

    def spend(self, now: float) -> bool:
        """Whether a call may be repeated once; if so, it counts."""
        self._roll(now)
        allowed = max(self._minimum, self._share * (self._calls + self._past_calls))
        if self.is_exhausted or self._retries + self._past_retries + 1 > allowed:
            return False
        self._retries += 1
        return True

    def _roll(self, now: float) -> None:
        if now < self._until:
            return
        is_next = now < self._until + WINDOW_SECONDS
        self._past_calls, self._past_retries = (self._calls, self._retries) if is_next else (0, 0)
        self._calls = self._retries = 0
        self._until = (self._until if is_next else now) + WINDOW_SECONDS
