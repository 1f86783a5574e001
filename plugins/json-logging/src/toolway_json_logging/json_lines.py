"""Lines as JSON objects (RFC 8259), one each, never longer than they may be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.msgspec import MsgspecFormatter

from toolway.hookspecs.telemetry import Served
from toolway_json_logging.access import Access, Phase
from toolway_json_logging.bounds import FIELD, JSON_ESCAPES, LINE, MOST_FIELDS, TRACE, Redact, ending, shortened, simple
from toolway_json_logging.ids import HEADER
from toolway_json_logging.plain import Plain
from toolway_json_logging.request_fields import request_fields, timestamp

ACCESS = "toolway.access"
SERVED_FIELD = "toolway_served"
"""The attribute of a record that holds the request that it belongs to."""


class AccessFields(msgspec.Struct, omit_defaults=True):
    """A line of the access log; names are those of all lines."""

    timestamp: str
    level: str
    event: str
    logger: str
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    principal: str = ""
    server: str = ""
    upstream: str = ""
    item: str = ""
    http_method: str = ""
    route: str = ""
    path: str = ""
    method: str = ""
    status: int = 0
    duration: float = 0.0
    address: str = ""
    error: str = ""


class JsonLines(MsgspecFormatter):
    """Formats records; what is longer than a field may be is redacted before it is cut."""

    def __init__(self, redact: Redact) -> None:
        super().__init__([], reserved_attrs=[*RESERVED_ATTRS, "taskName", SERVED_FIELD])
        self._redact = redact
        self._plain = Plain()
        encoder = msgspec.json.Encoder()
        self._encode, self._encode_lines = encoder.encode, encoder.encode_lines

    def format(self, record: logging.LogRecord) -> str:
        """One line, without a line break."""
        line = ""
        for limit in (FIELD, FIELD // 4, FIELD // 32):
            line = _line(self._encode(self._fields(record, limit)))
            if len(line.encode()) <= LINE - FIELD:  # the rest is for what redaction makes longer
                break
        return line

    def access(self, access: Access) -> str:
        """One line of the access log."""
        fields = access_fields(access, self._redact)
        line = self._encoded(fields)  # what cannot be encoded is never learned
        self._plain.learn(access, fields)
        return line

    def ready(self, ended: Iterable[Served], make: Callable[[Served], str | None]) -> tuple[str, int]:
        """Lines of requests that are over, and how many; `make` has to make those that are not known to be plain.

        Ids of clients are never taken for plain: they are different each time, and may hold anything.
        """
        made, easy, plain = list[str](), list[AccessFields](), self._plain
        for served in ended:
            second, begin, known = plain.second, plain.begin, plain.known  # which change with what is made
            at = served.began + served.seconds - second
            who = "" if served.principal is None else served.principal.id
            is_plain = served.error is None and HEADER not in served.fields and served.route != ""
            if is_plain and (served.item, served.method, who) in known and 0.0 <= at < 1.0:
                when = f"{begin}{str(1_000_000 + int(at * 1e6))[1:]}Z"
                texts = (served.request_id, who, served.item, "", served.method)
                easy.append(_access_fields(served, "request", when, served.seconds, texts))
            elif (line := make(served)) is not None:
                made.append(line)
        if easy:
            made.append(_line(self._encode_lines(easy)[:-1]))
        return "\n".join(made), len(easy) + len(made) - bool(easy)

    def told(self, level: str, event: str, at: float) -> str:
        """A line that is no record's."""
        return self._encoded(AccessFields(timestamp(at), level, event, "toolway.logs"))

    def _encoded(self, fields: AccessFields) -> str:
        return _line(self._encode(fields))

    def _fields(self, record: logging.LogRecord, limit: int) -> dict[str, Any]:
        redact = self._redact
        fields: dict[str, Any] = {
            "timestamp": timestamp(record.created),
            "level": record.levelname,
            "event": shortened(record.getMessage(), limit, redact),
            "logger": shortened(record.name, 256, redact),
        }
        found = request_fields(getattr(record, SERVED_FIELD, None))
        fields |= {name: shortened(value, limit, redact) for name, value in found.items()}
        extra: dict[str, Any] = {}
        self.add_fields(extra, record, {})
        for name in list(extra)[:MOST_FIELDS]:
            fields.setdefault(shortened(str(name), 64, redact), simple(extra[name], limit, redact))
        fields |= self._exception(record, limit)
        return fields

    def _exception(self, record: logging.LogRecord, limit: int) -> dict[str, str]:
        """Its type, text and traceback."""
        if not record.exc_info or record.exc_info[1] is None:
            return {"stacktrace": ending(record.stack_info, limit * 6, self._redact)} if record.stack_info else {}
        error, trace = record.exc_info[1], logging.Formatter.formatException(self, record.exc_info)
        return {
            "exception": f"{type(error).__module__}.{type(error).__qualname__}",
            "exception_message": shortened(str(error), limit, self._redact),
            "stacktrace": ending(trace, min(TRACE, limit * 6), self._redact),
        }


def access_fields(access: Access, redact: Redact) -> AccessFields:
    """Of a request: the path only where there is no route, for it may be anything."""
    texts = foreign(access.served, redact)
    return _access_fields(access.served, access.phase, timestamp(access.at), access.seconds, texts)


def _access_fields(served: Served, phase: Phase, at: str, seconds: float, texts: Sequence[str]) -> AccessFields:
    """`texts` are those of `foreign`."""
    scope, error, client, status = served.scope, served.error, served.scope.get("client"), served.status
    is_bad = error is not None or status >= 500 or (phase == "request" and not status)
    request_id, principal, item, path, method = texts
    return AccessFields(
        at,
        "WARNING" if is_bad else "INFO",
        phase,
        ACCESS,
        request_id,
        served.trace_id,
        served.span_id,
        principal,
        served.server,
        served.upstream,
        item,
        scope["method"],
        served.route,
        path,
        method,
        status,
        round(seconds * 1e6) / 1e6,
        client[0] if client else "",
        "" if error is None else type(error).__name__,
    )


def foreign(served: Served, redact: Redact) -> Sequence[str]:
    """What came from outside: id, principal, item, path and method; the rest of the line is of our own making."""
    fields = (
        served.request_id,
        "" if served.principal is None else served.principal.id,
        served.item,
        "" if served.route else served.scope["path"],
        served.method,
    )
    together = "\n".join(fields)
    if len(together) <= FIELD and redact(together) == together:
        return fields
    return [redact(shortened(each, FIELD, redact)) for each in fields]


def _line(encoded: bytes) -> str:
    line = encoded.decode()
    return line if line.isascii() and "\x7f" not in line else line.translate(JSON_ESCAPES)
