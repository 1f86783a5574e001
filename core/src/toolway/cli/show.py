"""Output of the commands: tables and progress for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from toolway.cli.profile import options


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
        return

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = {column: [_cell(one, column) for one in found] for column in columns}
    filled = {column: texts for column, texts in cells.items() if any(texts)}
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in filled:
        table.add_column(column.rpartition(".")[2].replace("_", " "), overflow="fold")
    for row in zip(*filled.values(), strict=True):
        table.add_row(*map(Text, row))
    Console().print(table if found else Text(f"{title}: none"))


def _cell(one: Any, column: str) -> str:
    """The member as one line."""
    for key in column.split("."):
        one = one.get(key) if isinstance(one, dict) else None
    text = ", ".join(map(str, one)) if isinstance(one, list) else str("" if one is None else one)
    return text.strip().partition("\n")[0]


def note(text: str) -> None:
    """Tell a person something that is not the result."""
    print(text, file=sys.stderr)


class Progress:
    """A progress bar on standard error while something takes long; silent when nobody watches a terminal."""

    def __init__(self, label: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bar

        self._bar = Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._task = self._bar.add_task(label, total=None)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def notified(self, message: dict[str, Any]) -> None:
        """Take an MCP progress notification (others are ignored)."""
        if message["method"] == "notifications/progress":
            params = message["params"]
            text = str(params.get("message") or "working")
            self._bar.update(self._task, completed=params["progress"], total=params.get("total"), description=text)
