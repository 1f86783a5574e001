"""Where the value after a name begins and ends, in JSON of any depth, Python, headers, URLs and plain text."""

from __future__ import annotations

import re

REDACTED = "[redacted]"
_OPEN = re.compile(r"(\\*)([\"'])")
_LIST = re.compile(r"[\[(]\s*(?=\\*[\"'])")
_NEXT = re.compile(r"\s*,\s*(?=\\*[\"'])")
_BARE = re.compile(r"[^\s,;&\"'<>(){}\[\]\\]+")
_WORD = re.compile(r"[^\s&\"'\\]+")
_LINE = re.compile(r"[^\r\n\"'\\]+")
_HARMLESS = frozenset({"null", "None", "true", "false", "True", "False"})
_REFERENCE = re.compile(
    r"(?!.*://[\w.:+=~-]+@)"  # which names a user and a password
    r"(?:(?:env|file|vault|aws-secrets):[\w./#@:+=~-]+[,;)]?"
    r"|vault:[\w./@-]+#(?:[\w.:/+@-]|\{[\w.-]+(?::url)?\} ?)+"  # a text with fields in it
    r"|sealed:hidden)"  # what stands in place of a stored credential
)
_PLACEHOLDER = re.compile(r"(?:Bearer |Basic )?<[a-z ]{1,20}>(?: <[a-z ]{1,20}>)?")


def is_reference(text: str) -> bool:
    """Whether it says where a secret is, and not what it is."""
    return _REFERENCE.fullmatch(text) is not None


def masked(text: str, at: int, quote: str, *, whole_line: bool) -> tuple[str, int]:
    """What the value at this place becomes, and where it ends; `quote` is the mark that its name has."""
    listed = _LIST.match(text, at)
    if listed is None and _OPEN.match(text, at) is None:
        return _bare(text, at, quote, _LINE if whole_line else _WORD)
    parts, at = [listed[0] if listed else ""], listed.end() if listed else at
    while opened := _OPEN.match(text, at):
        value, end = _quoted(text, opened)
        parts.append(f"{opened[0]}{value}")
        at = end
        if listed is None or (closed := _OPEN.match(text, at)) is None:
            break
        following = _NEXT.match(text, closed.end())
        if following is None:
            break
        parts.append(closed[0] + following[0])
        at = following.end()
    return "".join(parts), at


def _bare(text: str, at: int, quote: str, form: re.Pattern[str]) -> tuple[str, int]:
    """A value without quotation marks; it gets some if its name has, so that JSON stays JSON."""
    if text.startswith(REDACTED, at):
        return REDACTED, at + len(REDACTED)
    found = (_BARE if quote else form).match(text, at)
    if found is None or found[0] in _HARMLESS or is_reference(found[0]) or _PLACEHOLDER.fullmatch(found[0]):
        return "", at
    return f"{quote}{REDACTED}{quote}", found.end()


def _quoted(text: str, opened: re.Match[str]) -> tuple[str, int]:
    """What a quoted value becomes, and where its end is: the mark that ends it, or the end of the text."""
    end = _end(text, opened.end(), len(opened[1]), opened[2])
    value = text[opened.end() : end]
    return value if not value or is_reference(value) else REDACTED, end


def _end(text: str, start: int, depth: int, mark: str) -> int:
    """Where the backslashes before the ending mark begin.

    In JSON inside of JSON a mark that ends has as many backslashes before it as the one that began, and those of
    backslashes of the value, which are a multiple of twice one more. One with less of them ends what is around it.
    """
    at = start
    while (at := text.find(mark, at)) >= 0:
        first = at
        while first > start and text[first - 1] == "\\":
            first -= 1
        count = at - first
        if count < depth or count % (2 * (depth + 1)) == depth:
            return at - min(count, depth)
        at += 1
    return len(text)
