"""Lengths of time as people write them: `24h`, `90d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

MINUTE, HOUR, DAY = 60, 3600, 86400
LONGEST = 3650 * DAY
"""Seconds; nothing lives longer."""
LONGEST_GRACE = 30 * DAY
"""Seconds; what is replaced should go."""

_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1}
_TEXT = re.compile(r"([0-9]{1,9})([dhms])")


def seconds(text: str) -> int:
    """The seconds in a text such as `90m`; raises ValueError with what is wrong."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write a number with d, h, m or s, such as 90d or 24h")
    return int(match[1]) * _UNITS[match[2]]


def duration(length: float) -> str:
    """The text of some seconds, in the largest unit that has no remainder."""
    whole = int(length)
    unit = next(unit for unit, size in _UNITS.items() if whole % size == 0 and (whole or unit == "s"))
    return f"{whole // _UNITS[unit]}{unit}"


def _read(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


Text = Annotated[str, Field(pattern=rf"^{_TEXT.pattern}$")]
_READ = BeforeValidator(_read, json_schema_input_type=Text | Annotated[int, Field(gt=0, le=LONGEST)])
_READ_GRACE = BeforeValidator(_read, json_schema_input_type=Text | Annotated[int, Field(ge=0, le=LONGEST_GRACE)])
_WRITTEN = PlainSerializer(duration, return_type=str)

Duration = Annotated[int, Field(gt=0, le=LONGEST), _READ, _WRITTEN]
"""Seconds, written as `1h`."""

Grace = Annotated[int, Field(ge=0, le=LONGEST_GRACE), _READ_GRACE, _WRITTEN]
"""Seconds, possibly none, written as `24h`."""
