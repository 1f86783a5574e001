"""Reads the operations of a document: parameters, bodies and answers, each operation on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from toolway_rest.document import Document, Unresolved, mapping, sequence, text
from toolway_rest.operations import Body, BodyKind, Encoding, Parameter
from toolway_rest.settings import RESERVED, TOKEN
from toolway_rest.styles import has_dots

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
LONGEST = 64
"""Characters of the name of a tool or an argument: what the function-calling interfaces of models accept."""

DEFAULT_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form"}
STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
IGNORED = ("accept", "content-type", "authorization")
"""Header parameters that OpenAPI wants ignored."""

MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+")
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_TEMPLATE = re.compile(r"/[^?#\\\x00-\x20\x7f]*")


class Unusable(ValueError):
    """An operation that cannot become a tool; the text says why."""


class Described:
    """One operation of the document with its path's own parameters; raises Unresolved and Unusable when it is read."""

    def __init__(self, document: Document, path: str, method: str, item: Mapping[str, Any]) -> None:
        self.path, self.method = path, method.upper()
        self.raw = document.resolved(item[method])
        self.tags = tuple(tag for tag in sequence(self.raw.get("tags")) if isinstance(tag, str))
        self._document = document
        self._item = item

    @property
    def id(self) -> str:
        """Its `operationId`, or a name made of method and path."""
        return text(self.raw.get("operationId")) or f"{self.method.lower()}_{self.path.strip('/') or 'root'}"

    def parameters(self) -> Iterator[tuple[Parameter, dict[str, Any]]]:
        """Each parameter that can be given, with its description."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for each in (*sequence(self._item.get("parameters")), *sequence(self.raw.get("parameters"))):
            described = self._document.resolved(each)
            found[text(described.get("in")), text(described.get("name"))] = described
        for name in _PLACEHOLDER.findall(self.path):
            found.setdefault(("path", name), {"name": name, "in": "path", "schema": {"type": "string"}})
        taken = {"body"} if "requestBody" in self.raw else set[str]()
        for (place, name), described in found.items():
            if name and place in STYLES and not _is_left_out(place, name, self.path):
                argument = _argument(name, place, taken)
                yield self._parameter(argument, name, place, described), described

    def _parameter(self, argument: str, name: str, place: str, described: Mapping[str, Any]) -> Parameter:
        style = text(described.get("style")) or DEFAULT_STYLES[place]
        if style not in STYLES[place]:
            raise Unusable(
                f"parameter {name[:64]!r} has the style {style[:32]!r}, which nothing in the {place} can have"
            )
        explode = described.get("explode")
        return Parameter(
            argument=argument,
            name=name,
            place=place,  # type: ignore[arg-type]  # one of the keys of STYLES
            style=style,
            explode=explode if isinstance(explode, bool) else style in ("form", "deepObject"),
            required=described.get("required") is True or place == "path",
            reserved=described.get("allowReserved") is True and place == "query",
            is_json="content" in described and "schema" not in described,
        )

    def schema_of(self, described: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of a parameter, with its description."""
        contents = [mapping(each).get("schema") for each in mapping(described.get("content")).values()]
        schema = described.get("schema", contents[0] if contents else {})
        schema = dict(schema) if isinstance(schema, dict) else {}
        if isinstance(described.get("description"), str):
            schema["description"] = described["description"]
        return schema

    def body(self) -> tuple[Body, dict[str, Any]] | None:
        """The body with its schema, in the first of its media types that can be written."""
        if "requestBody" not in self.raw:
            return None
        described = self._document.resolved(self.raw["requestBody"])
        contents = mapping(described.get("content"))
        for kind, media in sorted(((_kind(name), name) for name in contents), key=lambda each: RANK[each[0]]):
            written = _written_media(kind, media)
            if MEDIA_TYPE.fullmatch(written):
                content = mapping(contents[media])
                schema = content.get("schema")
                schema = schema if isinstance(schema, dict) else {}
                binary = self._binary(schema) if kind == "multipart" else frozenset[str]()
                encodings = _encodings(mapping(content.get("encoding")))
                return Body("body", kind, written, described.get("required") is True, encodings, binary), schema
        raise Unusable("its body has no media type that the gateway can write")

    def answers(self) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
        """The schema of JSON that it answers with when all is well, None if there is none, and its media types."""
        schemas: list[dict[str, Any]] = []
        media: dict[str, None] = {}
        for status, each in mapping(self.raw.get("responses")).items():
            if not status.startswith("2"):
                continue
            for name, content in mapping(self._document.resolved(each).get("content")).items():
                media[name.partition(";")[0].strip()] = None
                schema = mapping(content).get("schema")
                if _kind(name) == "json" and isinstance(schema, dict) and schema and schema not in schemas:
                    schemas.append(schema)
        known = tuple(name for name in media if MEDIA_TYPE.fullmatch(name))
        return (schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else None), known

    def servers(self) -> list[str]:
        """The servers of this operation alone."""
        own = sequence(self.raw.get("servers")) or sequence(self._item.get("servers"))
        return [text(mapping(each).get("url")) for each in own]

    def security(self) -> Iterator[set[str]]:
        """The combinations of security schemes of which one is wanted; empty if nobody has to say who they are."""
        for each in sequence(self.raw.get("security", self._document.root.get("security"))):
            yield set(mapping(each))

    def _binary(self, schema: dict[str, Any]) -> frozenset[str]:
        properties = mapping(self._document.resolved(schema).get("properties"))
        return frozenset(name for name, each in properties.items() if _is_binary(self._document, each))


RANK: dict[BodyKind, int] = {"json": 0, "form": 1, "multipart": 2, "text": 3, "binary": 4}


def operations(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and path item of each operation; a path item that cannot be read is left out."""
    for path, each in mapping(document.root.get("paths")).items():
        try:
            item = document.resolved(each)
        except Unresolved:
            continue
        for method in METHODS:
            if isinstance(item.get(method), dict):
                yield path, method, item


def template(path: str, parameters: Mapping[str, Parameter]) -> tuple[str | Parameter, ...]:
    """The path in parts; raises Unusable when it is no plain path."""
    if not _TEMPLATE.fullmatch(path):
        raise Unusable("its path has a query, a fragment, a backslash or a space")
    parts: list[str | Parameter] = []
    for number, part in enumerate(_PLACEHOLDER.split(path)):
        if number % 2:
            parts.append(parameters[part])
        elif part:
            parts.append(quote(part, safe="/:@!$&'()*+,;=-._~%"))
    if has_dots(path):
        raise Unusable("its path has a segment of dots")
    return tuple(parts)


def fit(name: str, taken: set[str]) -> str:
    """A name of `[A-Za-z0-9_.-]` that is not taken, and now is."""
    clean = _FOREIGN.sub("_", name).strip("_")[:LONGEST] or "_"
    number, unique = 1, clean
    while unique in taken:
        number += 1
        unique = f"{clean[: LONGEST - len(str(number)) - 1]}_{number}"
    taken.add(unique)
    return unique


def _argument(name: str, place: str, taken: set[str]) -> str:
    return fit(name if fit(name, set()) not in taken else f"{name[:48]}_{place}", taken)


def _is_left_out(place: str, name: str, path: str) -> bool:
    if place == "header":
        lower = name.lower()
        return not TOKEN.fullmatch(name) or lower in IGNORED or lower.startswith(RESERVED) or lower == "cookie"
    return (place == "path" and f"{{{name}}}" not in path) or (place == "cookie" and not TOKEN.fullmatch(name))


def is_json_media(media: str) -> bool:
    """Whether a media type of an answer is JSON, or may be."""
    return _kind(media) == "json"


def _kind(media: str) -> BodyKind:
    name = media.partition(";")[0].strip().lower()
    if name in ("application/json", "*/*", "application/*") or name.endswith("+json"):
        return "json"
    if name == "application/x-www-form-urlencoded":
        return "form"
    if name.startswith("multipart/"):
        return "multipart"
    return "text" if name.startswith("text/") or name.endswith(("xml", "yaml")) else "binary"


def _written_media(kind: BodyKind, media: str) -> str:
    """The media type that is sent for one of the document, which may be a range."""
    if "*" not in media:
        return media.partition(";")[0].strip()
    return {"json": "application/json", "text": "text/plain"}.get(kind, "application/octet-stream")


def _encodings(described: Mapping[str, Any]) -> dict[str, Encoding]:
    found: dict[str, Encoding] = {}
    for name, each in described.items():
        raw = mapping(each)
        style = text(raw.get("style")) or "form"
        explode = raw.get("explode")
        media = text(raw.get("contentType")).partition(",")[0].strip()
        found[name] = Encoding(
            style if style in STYLES["query"] else "form",
            explode if isinstance(explode, bool) else style in ("form", "deepObject"),
            media if MEDIA_TYPE.fullmatch(media) and "*" not in media else "",
        )
    return found


def _is_binary(document: Document, schema: Any) -> bool:
    found = document.resolved(schema)
    if found.get("type") == "array" and isinstance(found.get("items"), dict):
        found = document.resolved(found["items"])
    is_octets = found.get("contentMediaType") == "application/octet-stream"
    return found.get("format") in ("binary", "byte") or found.get("contentEncoding") == "base64" or is_octets
