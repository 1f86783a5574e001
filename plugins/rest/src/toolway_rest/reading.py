"""Reads the operations of a document: parameters, bodies and answers, each operation on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import quote

from toolway_rest.document import Document, Unresolved, mapping, sequence, text
from toolway_rest.media import MEDIA_TYPE, RANK, encodings, is_binary, kind, written_media
from toolway_rest.names import Names
from toolway_rest.operations import Body, Parameter
from toolway_rest.settings import TOKEN, is_reserved
from toolway_rest.styles import DEFAULT_STYLES, STYLES, has_dots

METHODS = ("get", "head", "post", "put", "patch", "delete", "options")
MAX_OPERATIONS = 50_000
"""Operations that are looked at."""

MAX_PARAMETERS = 1000
MOST = 20
"""Tags, answers, media types, servers and ways to say who one is, of one operation; what is beyond is not looked at."""

IGNORED = ("accept", "content-type", "authorization")
"""Header parameters that OpenAPI wants ignored."""

_PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
_TEMPLATE = re.compile(r"/[^?#\\\x00-\x20\x7f]*")


class Unusable(ValueError):
    """An operation that cannot become a tool; the text says why."""


class Described:
    """One operation of the document with its path's own parameters; raises Unresolved and Unusable when it is read.

    What comes after `#` tells operations of one path apart in some documents, such as those of AWS, and is never sent.
    """

    def __init__(self, document: Document, path: str, method: str, item: Mapping[str, Any]) -> None:
        self.path, self.method = path.partition("#")[0], method.upper()
        self.raw = document.resolved(item[method])
        self.tags = tuple(tag[:100] for tag in sequence(self.raw.get("tags"))[:MOST] if isinstance(tag, str))
        self._document = document
        self._item = item
        self._place = path

    @property
    def id(self) -> str:
        """Its `operationId`, or a name made of method and path."""
        return text(self.raw.get("operationId")) or f"{self.method.lower()}_{self._place.strip('/') or 'root'}"

    def parameters(self) -> Iterator[tuple[Parameter, dict[str, Any]]]:
        """Each parameter that can be given, with its description."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        shared, own = sequence(self._item.get("parameters")), sequence(self.raw.get("parameters"))
        if len(shared) + len(own) > MAX_PARAMETERS:
            raise Unusable(f"it has more than {MAX_PARAMETERS} parameters")
        for each in (*shared, *own):
            described = self._document.resolved(each)
            found[text(described.get("in")), text(described.get("name"))] = described
        for name in _PLACEHOLDER.findall(self.path):
            found.setdefault(("path", name), {"name": name, "in": "path", "schema": {"type": "string"}})
        names = Names({"body"} if "requestBody" in self.raw else ())
        for (place, name), described in found.items():
            if place == "header" and described.get("required") is True and _is_reserved(name):
                raise Unusable(f"it needs the header {name[:64]!r}, which the gateway sets itself")
            if name and place in STYLES and not _is_left_out(place, name, self.path):
                argument = _argument(name, place, names)
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
        if described.get("deprecated") is True:
            schema["deprecated"] = True
        return schema

    def body(self) -> tuple[Body, dict[str, Any]] | None:
        """The body with its schema, in the first of its media types that can be written."""
        if "requestBody" not in self.raw:
            return None
        described = self._document.resolved(self.raw["requestBody"])
        contents = mapping(described.get("content"))
        for sort, media in sorted(
            ((kind(name), name) for name in islice(contents, MOST)), key=lambda one: RANK[one[0]]
        ):
            written = written_media(sort, media)
            if MEDIA_TYPE.fullmatch(written):
                content = mapping(contents[media])
                schema = content.get("schema")
                schema = schema if isinstance(schema, dict) else {}
                if sort in ("form", "multipart") and self._document.resolved(schema).get("type", "object") != "object":
                    continue
                octets = self._octets(schema) if sort == "multipart" else frozenset[str]()
                how = encodings(mapping(content.get("encoding")))
                return Body("body", sort, written, described.get("required") is True, how, octets), schema
        raise Unusable("its body has no media type that the gateway can write")

    def body_schema(self, body: Body, schema: dict[str, Any]) -> dict[str, Any]:
        """What an argument for the body has to be: text where the gateway cannot make the document's values of it."""
        if body.kind == "binary":
            return {"type": "string", "format": "binary"}
        is_text = body.kind != "text" or self._document.resolved(schema).get("type") == "string"
        return schema if is_text else {"type": "string", "description": f"Text of the type {body.content_type}."}

    def answers(self) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
        """The schema of JSON that it answers with when all is well, None if there is none, and its media types."""
        schemas: list[dict[str, Any]] = []
        media: dict[str, None] = {}
        good = (each for status, each in mapping(self.raw.get("responses")).items() if status.startswith("2"))
        for each in islice(good, MOST):
            for name, content in islice(mapping(self._document.resolved(each).get("content")).items(), MOST):
                media[name.partition(";")[0].strip()] = None
                schema = mapping(content).get("schema")
                if kind(name) == "json" and isinstance(schema, dict) and schema and schema not in schemas:
                    schemas.append(schema)
        known = tuple(name for name in media if MEDIA_TYPE.fullmatch(name))
        return (schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else None), known

    def inlined(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The schema that a reference means: clients look for `type` and `properties` at the top."""
        return self._document.resolved(schema)

    def servers(self) -> list[str]:
        """The servers of this operation alone."""
        return server_urls(self.raw.get("servers")) or server_urls(self._item.get("servers"))

    def security(self) -> Iterator[set[str]]:
        """The combinations of security schemes of which one is wanted; empty if nobody has to say who they are."""
        for each in sequence(self.raw.get("security", self._document.root.get("security")))[:MOST]:
            yield set(mapping(each))

    def _octets(self, schema: dict[str, Any]) -> frozenset[str]:
        properties = mapping(self._document.resolved(schema).get("properties"))
        return frozenset(name for name, each in properties.items() if is_binary(self._document, each))


def server_urls(servers: Any) -> list[str]:
    """The URLs of servers, with the defaults of their variables."""
    found: list[str] = []
    for each in map(mapping, sequence(servers)[:MOST]):
        variables = mapping(each.get("variables"))
        parts = _PLACEHOLDER.split(text(each.get("url")))
        for number in range(1, len(parts), 2):
            parts[number] = text(mapping(variables.get(parts[number])).get("default")) or f"{{{parts[number]}}}"
        found.append("".join(parts))
    return found


def operations(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Path, method and path item of each operation; a path item that cannot be read is left out."""
    return islice(_operations(document), MAX_OPERATIONS)


def _operations(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
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
        raise Unusable("its path has a query, a backslash or a space")
    parts: list[str | Parameter] = []
    for number, part in enumerate(_PLACEHOLDER.split(path)):
        if number % 2:
            parts.append(parameters[part])
        elif part:
            parts.append(quote(part, safe="/:@!$&'()*+,;=-._~%"))
    if has_dots(path):
        raise Unusable("its path has a segment of dots")
    return tuple(parts)


def _argument(name: str, place: str, names: Names) -> str:
    return names.fit(name if names.is_free(name) else f"{name[:48]}_{place}")


def _is_reserved(name: str) -> bool:
    lower = name.lower()
    return lower not in IGNORED and (not TOKEN.fullmatch(name) or is_reserved(name) or lower == "cookie")


def _is_left_out(place: str, name: str, path: str) -> bool:
    if place == "header":
        return name.lower() in IGNORED or _is_reserved(name)
    return (place == "path" and f"{{{name}}}" not in path) or (place == "cookie" and not TOKEN.fullmatch(name))
