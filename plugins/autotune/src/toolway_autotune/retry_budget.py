"""How many repetitions an upstream can bear."""

from __future__ import annotations

WINDOW_SECONDS = 10.0
MAX_TOKENS, TOKEN_RATIO = 10.0, 0.1
"""Of gRPC (proposal A6, retry throttling): a failure costs a token, a success gives back a tenth of one."""


class RetryBudget:
    """Two bounds: a share of the calls of the last 10 to 20 s, and none at all while most attempts fail.

    The first is that of Envoy (`budget_percent`, `min_retry_concurrency`), over time instead of at once: nothing is
    left behind by calls that are cancelled while they wait for their repetition.
    """

    __slots__ = ("_calls", "_minimum", "_past_calls", "_past_retries", "_retries", "_share", "_until", "tokens")

    def __init__(self, share: float, minimum: int) -> None:
        self._share = share
        self._minimum = minimum
        self.tokens = MAX_TOKENS
        self._until = 0.0
        self._calls = self._past_calls = 0
        self._retries = self._past_retries = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether too many attempts failed lately."""
        return self.tokens <= MAX_TOKENS / 2

    def began(self, now: float) -> None:
        """A call began."""
        self._roll(now)
        self._calls += 1

    def ended(self, *, failed: bool) -> None:
        """An attempt ended; tool errors and other answers are no failures."""
        self.tokens = max(0.0, self.tokens - 1) if failed else min(MAX_TOKENS, self.tokens + TOKEN_RATIO)

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
        self._until = now + WINDOW_SECONDS
