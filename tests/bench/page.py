"""Tables of a run in the documentation, each between two comments that name it."""

from __future__ import annotations

import re
from pathlib import Path

from outcome import Table


def put(page: Path, name: str, table: Table) -> None:
    """Replace the table of that name; raises ValueError when the page has no place for it."""
    begin, end = f"<!-- bench: {name} -->\n", f"<!-- end: {name} -->"
    text = page.read_text(encoding="utf-8")
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(text):
        raise ValueError(f"{page.name} has no place for the table {name!r}: write {begin.strip()} and {end}")
    page.write_text(found.sub(lambda _: f"{begin}\n{markdown(table)}\n{end}", text, count=1), encoding="utf-8")


def markdown(table: Table) -> str:
    """Its lines, the first one as head, with numbers to the right."""
    head, *lines = table.lines
    rule = ["---", *("---:" for _ in head[1:])]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *lines))
