"""Keeps the figures of a run of the chaos tests: printed as a table, and as the page of faults."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

PAGE = "TOOLWAY_TEST_FAULTS_PAGE"
"""The variable that names the page to write."""
IS_WHOLE = PAGE in os.environ
"""As `tox run -e chaos` runs it: long, at the default limits, with figures that count. Else it is only seen to work."""

HEAD = """# What happens on each fault

Measured by the chaos tests (`tests/chaos`): real processes of the gateway, with the plugin
[`breaker`](../how-to/breaker.md) at its defaults unless a row says otherwise, of upstreams and of clients, all on one
machine; `tox run -e chaos` runs them and writes this page. An upstream's deadline for a call is 2 s there, in place of
the default of 60 s.
Where a figure depends on the machine, it is one with two cores that is busy with other work, too.

| fault | clients see | figures | recovery |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One fault: what clients see of it, what was measured, and how it ends."""

    fault: str
    clients: str
    figures: str
    recovery: str


@dataclass
class Figures:
    """Those of one run."""

    rows: list[Row] = field(default_factory=list)

    def add(self, fault: str, *, clients: str, figures: str, recovery: str) -> None:
        """Keep one row."""
        self.rows.append(Row(fault, clients, figures, recovery))

    def page(self) -> str:
        """The page of the documentation."""
        lines = [f"| {each.fault} | {each.clients} | {each.figures} | {each.recovery} |" for each in self.rows]
        return HEAD + "\n".join(lines) + "\n"

    def table(self) -> str:
        """For a terminal."""
        width = max(len(each.fault) for each in self.rows)
        return "\n".join(f"{each.fault:{width}}  {each.figures}; {each.recovery}" for each in self.rows)
