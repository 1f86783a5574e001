"""The redactor: one search tells whether there is anything to do, which is all that most texts cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import re2  # type: ignore[import-untyped]

from toolway_masking import cards, forms, names
from toolway_masking.encoded import Encoded
from toolway_masking.expressions import LONGEST, checked, compiled
from toolway_masking.presented import Presented
from toolway_masking.values import REDACTED, is_reference, masked


class Masker:
    """Implements `Redactor`; takes time in proportion to the text, whatever is in it (RE2 never goes back)."""

    name = "masking"

    def __init__(
        self,
        own: Mapping[str, str] | None = None,
        more_names: Iterable[str] = (),
        *,
        with_cards: bool = True,
        with_emails: bool = False,
        redact: Callable[[str], str] | None = None,
    ) -> None:
        """`own` are expressions by name; `more_names` are names whose values are secret.

        `redact` is asked about what was encoded, if others know more about it.

        Raises:
            ConfigError: an expression cannot be used.
        """
        added = [checked(name, each) for name, each in (own or {}).items()]
        literal = [re2.escape(each) for each in more_names]
        whole = [*forms.WHOLE, *added, *([forms.EMAIL] if with_emails else ())]
        self._whole = compiled("|".join(whole))
        self._scheme = compiled(f"({forms.SCHEME})({forms.CREDENTIAL})")
        self._userinfo = compiled(forms.USERINFO)
        self._digits, self._with_cards = compiled(forms.DIGITS), with_cards
        self._assignment = compiled(names.assignment(literal))
        every = [*whole, forms.SCHEME + forms.CREDENTIAL, forms.USERINFO, names.assignment(literal)]
        self._any = compiled("|".join(f"(?:{each})" for each in (*every, *([forms.CARD] if with_cards else ()))))
        self._name = compiled(f".*{names.expression(literal)}")
        self.is_secret: Callable[[str], bool] = lru_cache(1_000)(self._is_secret)
        self.presented = Presented(self.is_secret)
        self._encoded = Encoded(redact or self.redact)

    def redact(self, text: str, key: str | None = None) -> str:
        """See `Redactor`."""
        is_place = is_reference(text) and self._whole.search(text) is None
        if key is not None and text and not is_place and self.is_secret(key[:LONGEST]):
            return REDACTED
        for value in self.presented.values():
            text = text.replace(value, REDACTED)
        if is_place:
            return self._encoded.redact(self._without_cards(text) if self._with_cards else text)
        if not text.isascii():
            text = text.encode("utf-8", "backslashreplace").decode()
        return self._encoded.redact(text if self._any.search(text) is None else self._plain(text))

    def _plain(self, text: str) -> str:
        text = self._assigned(text)
        text = self._userinfo.sub(f"://{REDACTED}@", text)
        text = self._scheme.sub(_after_scheme, text)
        text = self._whole.sub(REDACTED, text)
        return self._without_cards(text) if self._with_cards else text

    def _is_secret(self, name: str) -> bool:
        return self._name.fullmatch(name.encode("utf-8", "replace").decode()) is not None

    def _assigned(self, text: str) -> str:
        """The text without values of secret names."""
        parts, at = list[str](), 0
        for found in self._assignment.finditer(text):
            if found.end() < at:
                continue  # a part of a value that is gone
            name = (found.group(1) or "").lower()
            quote = found.group(2) or found.group(3) or ""
            value, end = masked(text, found.end(), quote, whole_line=name.endswith(names.LINES))
            parts += (text[at : found.end()], value)
            at = end
        return "".join([*parts, text[at:]])

    def _without_cards(self, text: str) -> str:
        parts, at = list[str](), 0
        for found in self._digits.finditer(text):
            for start, end in cards.numbers(text, *found.span()):
                parts += (text[at:start], REDACTED)
                at = end
        return "".join([*parts, text[at:]])


def _after_scheme(found: Any) -> str:
    """The scheme alone; a short word of small letters is a word: `Basic authentication`."""
    scheme, value = found.groups()
    is_word = len(value) < 16 and value.rstrip(".-").isalpha() and value.islower()
    return str(found.group(0)) if is_word else f"{scheme}{REDACTED}"
