"""The last lines of the log, bounded by bytes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

ACCESS = "toolway.access"
LOG_BYTES, ERROR_BYTES, LINE_BYTES = 2 * 1024 * 1024, 256 * 1024, 16 * 1024


class Ring:
    """Texts of at most so many bytes together; the oldest go first."""

    def __init__(self, most: int) -> None:
        self._most, self._size = most, 0
        self._lines: deque[str] = deque()

    def add(self, line: str) -> None:
        """One more, of which no more than `LINE_BYTES` characters are kept."""
        line = line if len(line) <= LINE_BYTES else f"{line[:LINE_BYTES]} [and {len(line) - LINE_BYTES} more]"
        self._lines.append(line)
        self._size += _size(line)
        while self._size > self._most:
            self._size -= _size(self._lines.popleft())

    def lines(self) -> list[str]:
        """The oldest first."""
        return list(self._lines)


def _size(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode(errors="replace"))


class RecentLines(logging.Handler):
    """Keeps what is logged, redacted at once: what a request presented is known to be secret only while it is served.

    Errors are kept apart too, so that many other lines do not push them out. Of the access log nothing is kept: a line
    costs as much as a part of the call that it tells of.
    """

    def __init__(self) -> None:
        super().__init__()
        self.redact: Callable[[str], str] = lambda text: ""
        self.logs, self.errors = Ring(LOG_BYTES), Ring(ERROR_BYTES)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if record.name == ACCESS:
            return
        try:
            line = self.redact(self.format(record))
        except Exception as error:  # noqa: BLE001 - `logging` would tell the arguments as they are
            line = f"a line of {record.name} could not be formatted: {type(error).__name__}"
        self.logs.add(line)
        if record.levelno >= logging.WARNING:
            self.errors.add(line)
