"""Reads parameters and forms back from the wire (OpenAPI 3.1, section 4.8.12.2); shares no code with the plugin."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import BodyPartReader, web

DELIMITERS = {"pipeDelimited": "|", "spaceDelimited": " ", "label": "."}


def readings(value: Any) -> list[Any]:
    """What a text on the wire may have meant: itself, or with all numbers and booleans read."""
    return [value, typed(value)]


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [typed(each) for each in value]
    if isinstance(value, str) and re.fullmatch(r"true|false|null|-?\d+(\.\d+)?|\{.*\}|\[.*\]", value):
        return json.loads(value)
    return value


def one_text(text: str, described: dict[str, Any], kind: str) -> Any:
    """A value in a path, a header or a cookie: `simple`, `label`, `matrix`, or what a cookie has."""
    style, name = described.get("style", "simple"), described["name"]
    explode = described.get("explode", False)
    if style == "matrix":
        pairs = [(unquote(key), each) for key, _, each in (one.partition("=") for one in text[1:].split(";"))]
        if explode and kind in ("array", "object"):
            return {key: unquote(one) for key, one in pairs} if kind == "object" else [unquote(one) for _, one in pairs]
        assert [key for key, _ in pairs] == [name]
        text = pairs[0][1]
    elif style == "label":
        text = text[1:]
    if described["in"] == "cookie":
        text = unquote(text)
    return listed(text.split(DELIMITERS.get(style, ",") if explode else ","), kind, explode=explode)


def listed(parts: list[str], kind: str, *, explode: bool) -> Any:
    texts = [unquote(part) for part in parts]
    if kind == "array":
        return texts
    if kind == "object":
        return dict(one.split("=", 1) for one in texts) if explode else dict(zip(texts[::2], texts[1::2], strict=True))
    return ",".join(texts)


def of_query(raw_query: str, described: dict[str, Any], kind: str, members: Any) -> Any:
    """A value of a query; `members` are the names that an object may have."""
    name, style = described["name"], described.get("style", "form")
    explode = described.get("explode", style == "form")
    pairs = parse_qsl(raw_query, keep_blank_values=True)
    if style == "deepObject":
        return deep([(key, text) for key, text in pairs if key.startswith(f"{name}[")]).get(name)
    if kind == "object" and explode:
        return {key: text for key, text in pairs if key in members} or None
    values = [text for key, text in pairs if key == name]
    if not values:
        return None
    if kind in ("array", "object") and not explode:
        return listed(values[0].split(DELIMITERS.get(style, ",")), kind, explode=False)
    return values if kind == "array" else values[0]


async def of_form(request: web.Request, arrays: set[str]) -> dict[str, Any]:
    """The members of a form, or of a body in parts; `arrays` are those that may have come once."""
    form = deep(await _pairs(request))
    return {name: [each] if name in arrays and not isinstance(each, list) else each for name, each in form.items()}


async def _pairs(request: web.Request) -> list[tuple[str, Any]]:
    if not request.content_type.startswith("multipart/"):
        return parse_qsl(await request.text(), keep_blank_values=True)
    pairs: list[tuple[str, Any]] = []
    async for part in await request.multipart():
        assert isinstance(part, BodyPartReader)
        octets = bytes(await part.read())
        media = part.headers.get("content-type", "")
        pairs.append((part.name or "", json.loads(octets) if media.endswith("json") else octets.decode("latin-1")))
    return pairs


def deep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """`a[b][c]=x` as nested objects, `a[0]=x` as arrays, several of one name as an array."""
    root: dict[str, Any] = {}
    for key, text in pairs:
        first, *rest = re.findall(r"[^\[\]]+", key)
        node, last = root, first
        for token in rest:
            node, last = node.setdefault(last, {}), token
        node[last] = [*known, text] if isinstance(known := node.get(last), list) else [known, text] if known else text
    found: dict[str, Any] = _arrays(root)
    return found


def _arrays(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdecimal() for key in value):
        return [_arrays(each) for each in value.values()]
    return {key: _arrays(each) for key, each in value.items()}
