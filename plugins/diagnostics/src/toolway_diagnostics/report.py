"""The report as one page that needs nothing else, not even scripts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

ALWAYS_OPEN = ("checks", "gateway", "upstreams", "errors")


def html(head: Mapping[str, Any], sections: Mapping[str, Any]) -> str:
    """The page; every value is escaped."""
    return _template().render(head=head, sections=sections, always_open=ALWAYS_OPEN)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("toolway_diagnostics", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["table"] = _is_table
    environment.tests["text_lines"] = _is_lines
    environment.filters["columns"] = _columns
    environment.filters["anchor"] = lambda name: name.replace(" ", "-")
    environment.filters["summary"] = _summary
    environment.filters["time"] = _time
    return environment.get_template("report.html.jinja")


def _is_table(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) for each in value)


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _columns(rows: list[Any]) -> list[str]:
    """Of all rows, without those that are empty everywhere."""
    tables = [row for row in rows if isinstance(row, dict)]
    names = dict.fromkeys(name for row in tables for name in row)
    return [name for name in names if any(row.get(name) not in ("", None, [], {}) for row in tables)]


def _summary(value: Any) -> str:
    if isinstance(value, dict) and "failed" in value:
        return "failed"
    if isinstance(value, dict) and "left_out" in value:
        return "left out"
    return str(len(value)) if isinstance(value, list) else ""


def _time(value: Any) -> str:
    """Seconds since 1970 for people."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
