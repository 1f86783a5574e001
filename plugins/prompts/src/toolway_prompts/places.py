"""Where something is in a template: Jinja knows lines only, the linter tells columns too."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import TemplateSyntaxError
from jinja2.lexer import Lexer


class Place(int):
    """A line that knows its column; both begin with 1. Jinja passes it on as the line of tokens and nodes."""

    column: int

    @classmethod
    def of(cls, source: str, offset: int) -> Place:
        """The place of a character."""
        place = cls(source.count("\n", 0, offset) + 1)
        place.column = offset - source.rfind("\n", 0, offset)
        return place


def column_of(line: int) -> int:
    """The column of a place; 0 for a line that knows none."""
    return line.column if isinstance(line, Place) else 0


class PlacingLexer(Lexer):
    """Gives every token its place: tokens come in order, between them is only space that was taken away."""

    def tokeniter(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> Iterator[tuple[int, str, str]]:
        """See `Lexer.tokeniter`."""
        offset = 0
        try:
            for _, token, text in super().tokeniter(source, name, filename, state):
                offset = max(offset, source.find(text, offset))
                yield Place.of(source, offset), token, text
                offset += len(text)
        except TemplateSyntaxError as error:
            if not isinstance(error.lineno, Place):
                error.lineno = Place.of(source, min(offset, max(0, len(source) - 1)))
            raise
