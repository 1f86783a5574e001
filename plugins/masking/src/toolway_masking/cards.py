"""Numbers of payment cards: digits whose last one is right, and that are no part of something longer."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LEAST, _MOST = 13, 19
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_PART_OF_A_WORD = frozenset("-._")
_GROUP = re.compile(r"[0-9]+")
_WRITTEN = ((4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4))
"""How digits are grouped on cards; other numbers may come before and after, such as a check code or the next card."""


def numbers(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where cards are among these digits, which spaces and hyphens may group; takes time in proportion to them."""
    groups = [found.span() for found in _GROUP.finditer(text, start, end)]
    lengths, at = tuple(stop - begin for begin, stop in groups), 0
    while at < len(groups):
        counts = [len(each) for each in _WRITTEN if lengths[at : at + len(each)] == each]
        for count in (*counts, 1) if at else (len(groups), *counts, 1):
            begin, stop = groups[at][0], groups[at + count - 1][1]
            if stop - begin < 2 * _MOST and stands_alone(text, begin, stop) and is_card(text[begin:stop]):
                yield begin, stop
                at += count
                break
        else:
            at += 1


def is_card(found: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1 annex B, by Luhn) and not all digits are the same."""
    digits = [ord(each) - 48 for each in reversed(found) if each not in " -"]
    plain, doubled = digits[::2], digits[1::2]
    is_long = _LEAST <= len(digits) <= _MOST and 2 <= digits[-1] <= 6
    return is_long and len(set(digits)) > 1 and (sum(plain) + sum(_DOUBLED[each] for each in doubled)) % 10 == 0


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether neither neighbour makes it a part of an identifier or of a longer number."""
    before, after = text[max(0, start - 2) : start], text[end : end + 1]
    is_escape = len(before) == 2 and before[0] == "\\" and before[1] in "nrt"
    begins = not before or is_escape or not _continues(before[-1])
    return begins and not (after.isalnum() or after in ("_", "-"))


def _continues(neighbour: str) -> bool:
    return neighbour.isalnum() or neighbour in _PART_OF_A_WORD
