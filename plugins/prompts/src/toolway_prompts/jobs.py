"""What is said between the gateway and the processes that render: jobs and their outcomes, as JSON."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Severity = Literal["error", "warning"]


class Found(msgspec.Struct, frozen=True):
    """Something about a template: which one, where (from 1; 0 is unknown), the rule, and a sentence."""

    template: int
    line: int
    column: int
    rule: str
    message: str
    severity: Severity = "error"


class Render(msgspec.Struct, frozen=True, tag="render"):
    """Render templates with JSON values; `absent` are names that are known and have none.

    Of `conditions`, expressions by the index of a template, those that are false leave theirs out.
    """

    templates: tuple[str, ...]
    values: dict[str, Any] = {}
    absent: tuple[str, ...] = ()
    conditions: dict[int, str] = {}
    most: int = 1024 * 1024


class Analyse(msgspec.Struct, frozen=True, tag="analyse"):
    """Look for what is wrong with templates; nothing is rendered. Those of `expressions` are expressions."""

    templates: tuple[str, ...]
    expressions: tuple[int, ...] = ()


class Rendered(msgspec.Struct, frozen=True, tag="rendered"):
    """The texts; None for what was left out."""

    texts: tuple[str | None, ...]


class Analysed(msgspec.Struct, frozen=True, tag="analysed"):
    """What was found, and the variables that each template reads and does not set, with their lines and columns."""

    found: tuple[Found, ...]
    variables: tuple[dict[str, tuple[int, int]], ...]


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A template could not be rendered; `is_spent` tells that the process ends: its memory may be in disorder."""

    reason: Found
    is_spent: bool = False


Job = Render | Analyse
Outcome = Rendered | Analysed | Refused
