"""The handler of the root logger: notes the request of each record and leaves the rest to the writer's thread."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from time import time_ns

from toolway.hookspecs.telemetry import SERVED, Served
from toolway_json_logging.access import Access
from toolway_json_logging.bounds import Redact
from toolway_json_logging.json_lines import SERVED_FIELD, JsonLines
from toolway_json_logging.plain import is_short
from toolway_json_logging.text_lines import TextLines
from toolway_json_logging.writer import Writer

Lines = JsonLines | TextLines
Entry = logging.LogRecord | Access | str
TOGETHER, LATE = 64, 0.05
"""So many lines of the access log are passed on at once, or after so many seconds those that there are."""


class QueuedHandler(logging.Handler):
    """Takes records and lines of the access log.

    The kernel puts redaction around the formatter, so records go through `format`; of lines of the access log what is
    not our own is redacted while they are made.
    """

    def __init__(self, lines: Lines, descriptor: int, most: int) -> None:
        super().__init__()
        self.name = "json-logging"
        self._lines = lines
        self.formatter = lines
        self.writer: Writer[Entry] = Writer(descriptor, most, self._line, self._told)
        self._ready: list[tuple[str, int]] = []
        self._together = TOGETHER

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`: arguments are put into the message now, for they may change. Never raises."""
        try:
            if record.args:
                record.msg, record.args = record.getMessage(), None
            setattr(record, SERVED_FIELD, SERVED.get())
            self.writer.put(record, urgent=record.levelno >= logging.WARNING)
        except Exception as error:  # noqa: BLE001 - `logging` would tell the arguments as they are
            self._put_failed(f"a log line of {record.name} could not be made: {type(error).__name__}")

    def tell(self, ended: Sequence[Served]) -> None:
        """Lines of the access log, made at once unless that may take long.

        They wait for each other: what many pieces of memory keep makes the caches of the processor useless.
        """
        lines = self._lines.ready(ended, self._made)
        if lines[1]:
            self._ready.append(lines)
            if sum(count for _, count in self._ready) >= self._together:
                self._pass_on()
            elif len(self._ready) == 1:
                asyncio.get_running_loop().call_later(LATE, self._pass_on)

    def _made(self, served: Served) -> str | None:
        """The line of one that has to be looked at; the thread gets those that are long or for people."""
        access = Access(served.began + served.seconds, "request", served, served.seconds)
        if is_short(served) and isinstance(self._lines, JsonLines):
            return self._line(access)
        self.writer.put(access)
        return None

    def flush(self) -> None:
        """See `logging.Handler`."""
        self._pass_on()
        self.writer.flush()

    def close(self) -> None:
        """See `logging.Handler`; what comes later is written at once."""
        self._together = 1
        self._pass_on()
        self.writer.close()
        super().close()

    def _pass_on(self) -> None:
        if ready := self._ready:
            self._ready = []
            self.writer.put("\n".join(lines for lines, _ in ready), sum(count for _, count in ready))

    def _line(self, entry: Entry) -> str:
        """Redactors may want to know the request."""
        if isinstance(entry, str):
            return entry
        told = SERVED.set(entry.served if isinstance(entry, Access) else getattr(entry, SERVED_FIELD, None))
        try:
            line = self._lines.access(entry) if isinstance(entry, Access) else self.format(entry)
        except Exception as error:  # noqa: BLE001 - told in place of the line
            return self._failed(f"a log line could not be made: {type(error).__name__}")
        finally:
            SERVED.reset(told)
        is_whole = line.startswith("{") or isinstance(self._lines, TextLines)
        return line if is_whole else self._failed(line)

    def _put_failed(self, what: str) -> None:
        try:
            self.writer.put(self._failed(what))
        except Exception:  # noqa: BLE001 - such as no memory to be had; whoever logs cannot help it
            self.writer.lose()

    def _failed(self, what: str) -> str:
        return self._lines.told("ERROR", what, _now())

    def _told(self, dropped: int) -> str:
        return self._lines.told("WARNING", f"{dropped} log lines were dropped: whoever reads them is too slow", _now())


def chosen_lines(form: str, redact: Redact, descriptor: int, environment: Callable[[str], str | None]) -> Lines:
    """JSON, unless text is wanted, or a person watches and nothing else is."""
    watched = os.isatty(descriptor)
    if form == "json" or (form == "auto" and not watched):
        return JsonLines(redact)
    return TextLines(redact, coloured=watched and not environment("NO_COLOR") and environment("TERM") != "dumb")


def _now() -> float:
    return time_ns() / 1e9
