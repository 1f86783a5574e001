"""The chart of the README and the documentation: CPU time of one call, as an SVG that follows the reader's colours."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

WIDTH, ROW, BAR, LABEL, VALUE = 760, 34, 18, 220, 150
TOP, BOTTOM = 58, 4
COLOURS = {"toolway": "#4051b5", "nginx": "#7d8590", "reference": "#9aa3b5"}
RIVAL = "#c58a3d"
STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.title{font-size:15px;font-weight:600}.small{font-size:11px}"
    "@media (prefers-color-scheme:dark){text{fill:#e6edf3}}"
)


def draw(title: str, subtitle: str, rates: Mapping[str, float]) -> str:
    """Bars for requests per second by name, longest first; the text of the SVG."""
    ordered = sorted(rates.items(), key=lambda each: -each[1])
    height = TOP + ROW * len(ordered) + BOTTOM
    label = escape(f"{title}. " + ", ".join(f"{name}: {_number(rate)}" for name, rate in ordered), quote=True)
    longest = ordered[0][1] if ordered else 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="0" y="18">{escape(title)}</text>',
        f'<text class="small" x="0" y="38">{escape(subtitle)}</text>',
        *(_bar(number, name, rate, rate / longest) for number, (name, rate) in enumerate(ordered)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(number: int, name: str, rate: float, share: float) -> str:
    top = TOP + number * ROW
    length = max(2.0, share * (WIDTH - LABEL - VALUE))
    text = top + BAR - 5
    return (
        f'<text x="0" y="{text}">{escape(name)}</text>'
        f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR}" rx="3" fill="{_colour(name)}"/>'
        f'<text x="{LABEL + length + 8:.1f}" y="{text}">{_number(rate)}</text>'
    )


def _colour(name: str) -> str:
    return next((colour for start, colour in COLOURS.items() if name.startswith(start)), RIVAL)


def _number(rate: float) -> str:
    return f"{rate:,.0f}/s".replace(",", " ")
