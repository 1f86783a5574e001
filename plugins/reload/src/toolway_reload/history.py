"""How the last reloads of this process ended."""

from __future__ import annotations

from collections import deque

from toolway_reload.schemas import ReloadReport

REMEMBERED = 20


class History:
    """Outlives the reloads that it tells of; the last one comes first."""

    def __init__(self) -> None:
        self.reports: deque[ReloadReport] = deque(maxlen=REMEMBERED)

    def add(self, report: ReloadReport) -> None:
        """One more."""
        self.reports.appendleft(report)

    @property
    def failure(self) -> str:
        """Why the last one that was to be put in force was not; empty when it was."""
        for report in self.reports:
            if report.outcome != "only checked":
                return report.problem
        return ""
