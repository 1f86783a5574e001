"""Texts that say something else: base64 (RFC 4648), and percent signs of URLs (RFC 3986 section 2.1)."""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, unquote_plus

from toolway_masking.expressions import compiled
from toolway_masking.values import REDACTED

DEEPEST = 3
"""What is encoded more often is not looked at."""
BASE64 = re.compile(r"[I-Za-f](?<![\w+/-].)[\w+/-]{3}[I-Za-f][\w+/-]{7,}={0,2}", re.ASCII)
"""A word that begins as ASCII does; few identifiers look like that. Nothing in it is tried twice."""
PERCENT = r"[^\s\"<>\\]*%[0-9A-Fa-f]{2}[^\s\"<>\\]*"
_STANDARD = str.maketrans("-_", "+/")


class Encoded:
    """Replaces a word that has a secret in it when it is decoded."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        """`redact` is asked about what was decoded."""
        self._redact, self._depth = redact, threading.local()
        self._percent = compiled(PERCENT)

    def redact(self, text: str) -> str:
        """The text without such words; takes time in proportion to it, for it looks at most `DEEPEST` times."""
        depth = getattr(self._depth, "now", 0)
        if depth == DEEPEST:
            return text
        self._depth.now = depth + 1
        try:
            if "%" in text:
                text = self._percent.sub(self._of_url, text)
            return BASE64.sub(self._of_base64, text)
        finally:
            self._depth.now = depth

    def _of_url(self, found: Any) -> str:
        word: str = found.group(0)
        return REDACTED if any(map(self._is_secret, {unquote(word), unquote_plus(word)} - {word})) else word

    def _of_base64(self, found: re.Match[str]) -> str:
        word = found[0]
        said = decoded(word)
        return REDACTED if said is not None and self._is_secret(said) else word

    def _is_secret(self, text: str) -> bool:
        return self._redact(text) != text.encode("utf-8", "backslashreplace").decode()


def decoded(word: str) -> str | None:
    """The text that it is in base64, with either alphabet, whether it is filled up with `=` or not."""
    digits = word.rstrip("=").translate(_STANDARD)
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
