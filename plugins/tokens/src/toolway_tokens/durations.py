"""Lifetimes as people write them: `1h`, `30d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

MINUTE, HOUR, DAY = 60, 3600, 86400
LONGEST = 3650 * DAY
"""Seconds; nothing lives longer."""

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1}
_TEXT = re.compile(r"([0-9]{1,9})([dhms])")
Written = Annotated[str, Field(pattern=rf"^{_TEXT.pattern}$")] | Annotated[int, Field(gt=0, le=LONGEST)]
"""What is taken: such a text, or seconds."""


def seconds(text: str) -> int:
    """The seconds in a text such as `90m`; raises ValueError with what is wrong."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write a number with d, h, m or s, such as 30d or 1h")
    found = int(match[1]) * _UNITS[match[2]]
    if not 0 < found <= LONGEST:
        raise ValueError(f"{text!r} must be more than nothing and at most {duration(LONGEST)}")
    return found


def duration(length: float) -> str:
    """The text of some seconds, in the largest unit that has no remainder."""
    whole = int(length)
    unit = next(unit for unit, size in _UNITS.items() if whole % size == 0)
    return f"{whole // _UNITS[unit]}{unit}"


def _read(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


Duration = Annotated[
    int,
    Field(gt=0, le=LONGEST),
    BeforeValidator(_read, json_schema_input_type=Written),
    PlainSerializer(duration, return_type=str),
]
"""Seconds, written as `1h`."""
