"""Output of the commands: tables and progress for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from traceback import format_tb
from typing import Any

from toolway.cli.profile import options
from toolway.errors import ToolwayError

STYLES = {"up": "green", "enabled": "green", "pending": "yellow", "down": "red", "broken": "red", "quarantined": "red"}
NO_MORE_YEARS = 253402300800.0
"""What comes after the year 9999, in seconds since 1970."""
UNFOLDED = 10_000
"""Columns of a table that nobody watches: each row stays one line for `grep`."""


def as_json(value: Any) -> None:
    """Print indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show(title: str, objects: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
    """Print objects: a table for people, all of each object for scripts.

    `columns` are members, such as `name` or `meta.status`; one that is empty everywhere is left out.
    """
    found = list(objects)
    if options.json:
        as_json(found)
    elif found:
        _print_table({column: [_cell(one, column) for one in found] for column in columns})
    else:
        note(f"no {title.lower()}")


def _print_table(columns: dict[str, list[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    filled = {column: cells for column, cells in columns.items() if any(cells)}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for column in filled:
        table.add_column(column.rpartition(".")[2].replace("_", " "), overflow="fold")
    for row in zip(*filled.values(), strict=True):
        table.add_row(*(Text(cell or "-", STYLES.get(cell, "")) for cell in row))
    Console(width=None if sys.stdout.isatty() else UNFOLDED).print(table)


def _cell(one: Any, column: str) -> str:
    """The member as one line; a time as in RFC 3339."""
    for key in column.split("."):
        one = one.get(key) if isinstance(one, dict) else None
    if isinstance(one, float) and column.endswith("_at") and one < NO_MORE_YEARS:
        return datetime.fromtimestamp(one, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = ", ".join(map(str, one)) if isinstance(one, list | tuple | dict) else str("" if one is None else one)
    return text.strip().partition("\n")[0]


def note(text: str) -> None:
    """Tell a person something that is not the result."""
    print(text, file=sys.stderr)


def sentence(error: Exception) -> str:
    """What to tell of an error; of an unexpected one only where it happened, for its text may have a secret in it."""
    if isinstance(error, ToolwayError):
        return error.message
    places = "".join(format_tb(error.__traceback__))
    return f"it failed unexpectedly with {type(error).__name__}; report this to whose code it is:\n{places}"


class Progress:
    """A progress bar on standard error while something takes long; silent when nobody watches a terminal."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task(self._label, total=None)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def notified(self, message: dict[str, Any]) -> None:
        """Take an MCP progress notification (others are ignored)."""
        if self._bar is not None and message["method"] == "notifications/progress":
            params = message["params"]
            text = str(params.get("message") or "working")
            self._bar.update(self._task, completed=params["progress"], total=params.get("total"), description=text)
