"""Shows the figures that the tests measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from faults_page import PAGE, Figures

FIGURES = Figures()


@pytest.fixture
def figures() -> Figures:
    """What a test measured goes here."""
    return FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print the table; write the page if one is named and all went well."""
    if FIGURES.rows:
        terminalreporter.section("faults")
        terminalreporter.write_line(FIGURES.table())
        if exitstatus == 0 and (page := os.environ.get(PAGE)):
            Path(page).write_text(FIGURES.page(), encoding="utf-8")
