"""A flame graph as SVG: who calls whom from top to bottom, as wide as it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from zlib import crc32

WIDTH, ROW, TOP = 1200, 17, 30
CHARACTER = 6.2
NARROWEST = 2.0
"""Pixels; what is narrower is left out, with everything below it."""

HUES = {"toolway": 230, "uvicorn": 95, "hypercorn": 95, "h11": 60, "asyncio": 20, "contextlib": 20}
STYLE = "text{font:11px ui-monospace,monospace;fill:#1b1f24;pointer-events:none}.title{font-size:13px;fill:#7d8590}"

Stacks = Mapping[tuple[str, ...], float]


def draw(title: str, stacks: Stacks) -> str:
    """The text of the SVG; frames are `path  name`, costs in any unit."""
    scale = WIDTH / (sum(stacks.values()) or 1.0)
    boxes = list(_boxes(stacks, scale, 0.0, 0))
    height = TOP + ROW * (max((depth for _, depth, _, _ in boxes), default=0) + 1) + 6
    size = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="2" y="18">{escape(title)}</text>',
        *(_box(left, depth, cost, frame, scale) for left, depth, cost, frame in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _boxes(stacks: Stacks, scale: float, left: float, depth: int) -> Iterator[tuple[float, int, float, str]]:
    """Left edge, depth, cost and frame of everything that is wide enough."""
    groups: dict[str, dict[tuple[str, ...], float]] = {}
    for stack, cost in stacks.items():
        if stack:
            below = groups.setdefault(stack[0], {})
            below[stack[1:]] = below.get(stack[1:], 0.0) + cost
    for frame, below in sorted(groups.items()):
        cost = sum(below.values())
        if cost * scale >= NARROWEST:
            yield left, depth, cost, frame
            yield from _boxes(below, scale, left, depth + 1)
        left += cost * scale


def _box(left: float, depth: int, cost: float, frame: str, scale: float) -> str:
    width, top = cost * scale, TOP + depth * ROW
    path, _, name = frame.partition("  ")
    shown = name[: max(0, int((width - 4) / CHARACTER))]
    hue = next((hue for start, hue in HUES.items() if path.startswith(start)), 180)
    colour = f"hsl({hue} 65% {68 + crc32(frame.encode()) % 14}%)"
    return (
        f'<g><title>{escape(frame)}: {cost:.1f} µs</title><rect x="{left:.1f}" y="{top}" width="{width - 0.4:.1f}" '
        f'height="{ROW - 1}" fill="{colour}"/>'
        + (f'<text x="{left + 2:.1f}" y="{top + 12}">{escape(shown)}</text>' if len(shown) > 2 else "")
        + "</g>"
    )
