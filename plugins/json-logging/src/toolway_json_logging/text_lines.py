"""Lines for people: coloured text, in which nothing can pretend to be another line or move the cursor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access
from toolway_json_logging.bounds import FIELD, TEXT_ESCAPES, TRACE, Redact, ending, shortened, simple
from toolway_json_logging.json_lines import SERVED_FIELD, AccessFields, access_fields
from toolway_json_logging.request_fields import request_fields, timestamp

COLOURS = {"DEBUG": "36", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
DIM = "2"


class TextLines(logging.Formatter):
    """Formats records; what follows the first line is indented."""

    def __init__(self, redact: Redact, *, coloured: bool) -> None:
        super().__init__()
        self._redact = redact
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the traceback."""
        event = shortened(record.getMessage(), FIELD, self._redact)
        line = self._line(timestamp(record.created), record.levelname, record.name, event)
        served = request_fields(getattr(record, SERVED_FIELD, None))
        line += self._fields({name: simple(value, FIELD, self._redact) for name, value in served.items()})
        if record.exc_info and record.exc_info[1] is not None:
            line += self._below(self.formatException(record.exc_info))
        return line + self._below(record.stack_info) if record.stack_info else line

    def access(self, access: Access) -> str:
        """One line of the access log."""
        fields = access_fields(access, self._redact)
        what = (
            f"{fields.http_method} {fields.route or fields.path} {fields.status or '-'} {fields.duration * 1e3:.1f} ms"
        )
        event = what if access.phase == "request" else f"{access.phase}: {what}"
        rest = {
            name: getattr(fields, name) for name in ("method", "item", "upstream", "principal", "request_id", "error")
        }
        return self._line(fields.timestamp, fields.level, fields.logger, event) + self._fields(rest)

    def ready(self, ended: Iterable[Served], make: Callable[[Served], str | None]) -> tuple[str, int]:
        """See `JsonLines`: lines for people are few."""
        made = [line for each in ended if (line := make(each)) is not None]
        return "\n".join(made), len(made)

    def told(self, level: str, event: str, at: float) -> str:
        """A line that is no record's."""
        fields = AccessFields(timestamp(at), level, event, "toolway.logs")
        return self._line(fields.timestamp, fields.level, fields.logger, fields.event)

    def _line(self, at: str, level: str, logger: str, event: str) -> str:
        name, where = self._in(COLOURS.get(level, "0"), f"{level:<7}"), self._in(DIM, safe(logger))
        return f"{self._in(DIM, at[11:23])} {name} {where} {safe(event)}"

    def _fields(self, fields: dict[str, str]) -> str:
        told = " ".join(f"{name}={safe(str(value))}" for name, value in fields.items() if value)
        return f" {self._in(DIM, told)}" if told else ""

    def _below(self, text: str) -> str:
        return "".join(f"\n    {safe(line)}" for line in ending(text, TRACE, self._redact).split("\n"))

    def _in(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text


def safe(text: str) -> str:
    """The text without control characters."""
    return text.translate(TEXT_ESCAPES)
