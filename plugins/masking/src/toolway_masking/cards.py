"""Numbers of payment cards: digits whose last one is right, and that are no part of something longer."""

from __future__ import annotations

_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_PART_OF_A_WORD = frozenset("-._")


def is_card(found: str) -> bool:
    """Whether the check digit is right (ISO/IEC 7812-1 annex B, by Luhn) and not all digits are the same."""
    digits = [ord(each) - 48 for each in reversed(found) if each not in " -"]
    plain, doubled = digits[::2], digits[1::2]
    return len(set(digits)) > 1 and (sum(plain) + sum(_DOUBLED[each] for each in doubled)) % 10 == 0


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether neither neighbour makes it a part of an identifier or of a longer number."""
    before, after = text[max(0, start - 2) : start], text[end : end + 1]
    is_escape = len(before) == 2 and before[0] == "\\" and before[1] in "nrt"
    begins = not before or is_escape or not _continues(before[-1])
    return begins and not (after.isalnum() or after in ("_", "-"))


def _continues(neighbour: str) -> bool:
    return neighbour.isalnum() or neighbour in _PART_OF_A_WORD
