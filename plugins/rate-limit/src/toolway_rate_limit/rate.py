"""How often: a number of calls in a second, minute, hour or day, as people write it: `600/m`."""

from __future__ import annotations

import re
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, PlainSerializer

UNITS = {"s": (1, "second"), "m": (60, "minute"), "h": (3600, "hour"), "d": (86400, "day")}
MOST = 1_000_000_000
"""Calls in one window; more is no limit."""

_TEXT = re.compile(r"([0-9]{1,10})/([smhd])")


class Rate(NamedTuple):
    """So many calls in a window of one `unit`."""

    calls: int
    unit: str

    @property
    def window(self) -> int:
        """Seconds."""
        return UNITS[self.unit][0]

    @property
    def interval(self) -> float:
        """Seconds from one call to the next, on average."""
        return self.window / self.calls

    @property
    def words(self) -> str:
        """For a sentence."""
        return f"{self.calls} call{'s' * (self.calls != 1)} per {UNITS[self.unit][1]}"

    def __str__(self) -> str:
        return f"{self.calls}/{self.unit}"


def parsed(text: str) -> Rate:
    """The rate in a text such as `600/m`; raises ValueError with what is wrong."""
    match = _TEXT.fullmatch(text)
    if match is None or not 0 < int(match[1]) <= MOST:
        raise ValueError(f"{text!r} is no rate; write a number of calls and a unit of s, m, h or d, such as 600/m")
    return Rate(int(match[1]), match[2])


def _read(value: object) -> object:
    return parsed(value) if isinstance(value, str) else value


RateText = Annotated[Rate, BeforeValidator(_read, json_schema_input_type=str), PlainSerializer(str, return_type=str)]
"""A rate, written as `600/m`."""
