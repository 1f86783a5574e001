"""A clock that only the test moves."""


class MovedClock:
    """Stands still until `time` is changed; both kinds of time are the same number of seconds."""

    def __init__(self, time: float = 1_000_000.0) -> None:
        self.time = time

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self.time

    def now(self) -> float:
        """Seconds since 1970 (UTC)."""
        return self.time
