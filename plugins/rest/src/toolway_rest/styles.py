"""Values of arguments in the styles of OpenAPI (RFC 6570 and OpenAPI 3.1, section 4.8.12.2), percent-encoded.

Whatever a value holds, it stays inside of the place that the document gives it: what could leave it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

import msgspec

RESERVED = "/?:@!$'()*,;"
"""What `allowReserved` leaves as it is in a query: all reserved characters but those that end a value."""

DEFAULT_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}

MAX_PARTS = 10_000
"""Most members of one value."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029]")
_HEADER = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_DELIMITERS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}

Pair = tuple[str, str]


class Refused(ValueError):
    """A value that cannot be sent; the text says why, and names no value."""


def plain(value: Any) -> str:
    """A value without members as text: strings as they are, everything else as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        raise Refused("is nested deeper than its style can say")
    return "" if value is None else msgspec.json.encode(value).decode()


def path_value(value: Any, name: str, style: str, *, explode: bool, slashes: bool = False) -> str:
    """One value in a path, as part of one segment.

    Raises:
        Refused: it is empty, or some server could read a slash or a segment of dots out of it.
    """
    prefix = {"label": ".", "matrix": ";"}.get(style, "")
    encoded = _joined(value, lambda text: _segment(text, slashes=slashes), name, style, explode=explode)
    if not encoded:
        raise Refused("must not be empty: it is part of the path")
    return prefix + encoded


def _segment(text: str, *, slashes: bool) -> str:
    bare = decoded(text)
    if _CONTROL.search(bare):
        raise Refused("has a control character")
    if "\\" in bare or ("/" in bare and not slashes):
        raise Refused("has a slash or backslash, which could lead to another path")
    if has_dots(bare):
        raise Refused("has a segment of dots, which could lead to another path")
    if slashes and ("//" in bare or bare.startswith("/")):
        raise Refused("has an empty segment, which could lead to another path")
    return percent(text)


def decoded(text: str) -> str:
    """The text as a server reads it that decodes until nothing is encoded; raises Refused when that is not soon."""
    for _ in range(8):
        if (further := unquote(text)) == text:
            return text
        text = further
    raise Refused("is percent-encoded too often")


def has_dots(path: str) -> bool:
    """Whether some server could read a segment `.` or `..` out of a path, which leads to another one."""
    return any(part.partition(";")[0] in (".", "..") for part in unquote(path).split("/"))


def percent(text: str, safe: str = "") -> str:
    """Percent-encoded UTF-8; raises Refused for text that has no encoding."""
    try:
        return quote(text, safe=safe)
    except UnicodeEncodeError:
        raise Refused("is no Unicode text") from None


def _joined(value: Any, encode: Any, name: str, style: str, *, explode: bool) -> str:
    """The value in one of the styles of a path."""
    between = {"label": ".", "matrix": ";"}.get(style, ",") if explode else ","
    key = percent(name)
    if isinstance(value, dict):
        items = [(encode(each), encode(plain(member))) for each, member in _members(value)]
        if explode:
            return between.join(f"{each}={member}" for each, member in items)
        joined = ",".join(part for item in items for part in item)
        return f"{key}={joined}" if style == "matrix" else joined
    elements = [encode(plain(each)) for each in (_elements(value) if isinstance(value, list) else [value])]
    if "" in elements and style != "matrix":
        raise Refused("must not be empty: it is part of the path")
    if style != "matrix":
        return between.join(elements)
    if isinstance(value, list) and explode:
        return ";".join(f"{key}={each}" for each in elements)
    return f"{key}={','.join(elements)}" if elements else ""


def header_value(value: Any, *, explode: bool) -> str:
    """A value in a header, in the style `simple`; raises Refused for what is no visible ASCII."""
    if isinstance(value, dict):
        pairs = [(each, plain(member)) for each, member in _members(value)]
        text = ",".join(f"{k}={v}" for k, v in pairs) if explode else ",".join(part for pair in pairs for part in pair)
    else:
        text = ",".join(map(plain, _elements(value))) if isinstance(value, list) else plain(value)
    if not _HEADER.fullmatch(text):
        raise Refused("has a character that no header can have: only visible ASCII and spaces between")
    return text


def cookie_value(value: Any) -> str:
    """A value in a cookie, in the style `form`, percent-encoded."""
    if isinstance(value, dict):
        return percent(",".join(part for each, member in _members(value) for part in (each, plain(member))), "")
    return percent(",".join(map(plain, _elements(value))) if isinstance(value, list) else plain(value), "")


def query_pairs(value: Any, name: str, style: str, *, explode: bool, reserved: bool = False) -> list[Pair]:
    """A value in a query or a form, as encoded pairs; an empty array or object is left out."""
    safe = RESERVED if reserved else ""
    key = percent(name, "[]" if reserved else "")
    if style == "deepObject" and isinstance(value, list | dict):
        return [(percent(path, "[]"), percent(text, safe)) for path, text in deep_pairs(value, name)]
    if isinstance(value, dict):
        members = [(percent(each), percent(_in_query(member), safe)) for each, member in _members(value)]
        if explode and style == "form":
            return members
        flat = _DELIMITERS.get(style, ",").join(part for member in members for part in member)
        return [(key, flat)] if members else []
    if isinstance(value, list):
        elements = [percent(_in_query(each), safe) for each in _elements(value)]
        if explode:
            return [(key, each) for each in elements]
        return [(key, _DELIMITERS.get(style, ",").join(elements))] if elements else []
    return [(key, percent(plain(value), safe))]


def _in_query(value: Any) -> str:
    """A member of a value in a query; what no style has words for is JSON, as most clients write it."""
    return msgspec.json.encode(value).decode() if isinstance(value, list | dict) else plain(value)


def deep_pairs(value: Any, name: str) -> list[Pair]:
    """Each plain value inside of a value with its path, such as `name[a][0]`, not encoded."""
    return list(_deep(value, name, 0, [MAX_PARTS]))


def _deep(value: Any, path: str, depth: int, left: list[int]) -> Iterator[Pair]:
    left[0] -= 1
    if depth > 16 or left[0] < 0:
        raise Refused("is too large or nested too deeply")
    if isinstance(value, dict):
        for name, each in _members(value):
            yield from _deep(each, f"{path}[{name.replace('[', '%5B').replace(']', '%5D')}]", depth + 1, left)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _deep(each, f"{path}[{number}]", depth + 1, left)
    else:
        yield path, plain(value)


def _members(value: dict[str, Any]) -> list[tuple[str, Any]]:
    if len(value) > MAX_PARTS:
        raise Refused(f"has more than {MAX_PARTS} members")
    return list(value.items())


def _elements(value: list[Any]) -> list[Any]:
    if len(value) > MAX_PARTS:
        raise Refused(f"has more than {MAX_PARTS} elements")
    return value
