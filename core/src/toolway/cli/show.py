"""Output of the commands: tables and colours for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any


def as_json(value: Any) -> None:
    """Print indented JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; says so when there is nothing to show."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    count = 0
    for row in rows:
        drawn.add_row(*[Text(str(cell)) for cell in row])
        count += 1
    console = Console()
    if count:
        console.print(drawn)
    else:
        console.print(Text(f"{title}: none"))


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
        if message.get("method") == "notifications/progress":
            params = message.get("params", {})
            self._bar.update(
                self._task,
                completed=params.get("progress", 0),
                total=params.get("total"),
                description=str(params.get("message") or "working"),
            )
