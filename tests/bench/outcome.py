"""What a scenario hands back: tables to read, ratios to compare with the baseline, and verdicts against the goals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Literal

Row = list[str]


@dataclass(frozen=True)
class Table:
    """A heading and lines; the first line names the columns."""

    title: str
    lines: list[Row]

    def __str__(self) -> str:
        widths = [max(len(line[column]) for line in self.lines) for column in range(len(self.lines[0]))]
        text = [
            "  ".join(cell.ljust(width) if column == 0 else cell.rjust(width) for column, (cell, width) in pairs)
            for pairs in (enumerate(zip(line, widths, strict=True)) for line in self.lines)
        ]
        return "\n".join([self.title, *text])


@dataclass(frozen=True)
class Verdict:
    """One goal: `measured` against `limit`, which is the least or the most that passes."""

    what: str
    measured: float
    sense: Literal["at least", "at most"]
    limit: float
    unit: str = ""

    @property
    def passes(self) -> bool:
        """Whether the goal is met."""
        return self.measured >= self.limit if self.sense == "at least" else self.measured <= self.limit

    def __str__(self) -> str:
        word = "PASS" if self.passes else "FAIL"
        return f"{word}  {self.what}: {_short(self.measured)}{self.unit}, wanted {self.sense} {self.limit:g}{self.unit}"


@dataclass
class Outcome:
    """Everything of one scenario.

    `ratios` are better when larger, `rates` are calls per second by target, for the chart; `figures` go into the JSON
    file as they are, `published` into the documentation, by name.
    """

    scenario: str
    tables: list[Table] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    ratios: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    figures: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    published: dict[str, Table] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """For the file with the figures."""
        verdicts = [{**asdict(each), "passes": each.passes} for each in self.verdicts]
        return {"figures": self.figures, "ratios": self.ratios, "verdicts": verdicts, "notes": self.notes}


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
