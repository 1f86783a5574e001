"""Makes the book of an upstream: a tool for each operation of its document, and for each declared one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from toolway.hookspecs.routing import Item
from toolway_rest.document import Document, Unresolved, mapping, text
from toolway_rest.media import is_json_media
from toolway_rest.names import Names
from toolway_rest.operations import Body, Book, Operation, Parameter, Scheme, Shapers
from toolway_rest.reading import Described, Unusable, operations, server_urls, template
from toolway_rest.schemas import Schemas
from toolway_rest.selection import selected
from toolway_rest.settings import TOKEN, Operation as Declared, RestUpstream, Shape, is_reserved
from toolway_rest.shaping import Shaper

MAX_DESCRIPTION = 4000
MAX_PROBLEMS = 100
TAGS = "toolway/tags"
"""The member of a tool's `_meta` that names its groups."""

_PAGING = re.compile(
    r"(?:page|per_page|page_?size|page_?token|limit|offset|cursor|after|before|starting_after|continue)"
)


def build(settings: RestUpstream, document: Document | None) -> Book:
    """All tools of an upstream; why operations are left out is told in `problems`."""
    builder = Builder(settings)
    if document is not None:
        builder.add_document(document)
    for declared in settings.operations:
        builder.add_declared(declared)
    return builder.book(document)


class Builder:
    """Collects the operations of one upstream."""

    def __init__(self, settings: RestUpstream) -> None:
        self._settings = settings
        self._items: list[Item] = []
        self._operations: dict[str, Operation] = {}
        self._schemes: dict[str, Scheme] = {}
        self._problems: list[str] = []
        self._names = Names(each.name for each in settings.operations)
        self._left_out = 0

    def book(self, document: Document | None) -> Book:
        """What was collected."""
        for name in self._settings.shapes.keys() - self._operations.keys():
            self._complain(f"shapes: there is no tool {name!r}")
        if self._left_out:
            most = self._settings.max_tools
            self._complain(f"{self._left_out} operations more than max_tools = {most} are left out; include fewer")
        info = document.info if document else {}
        named = {
            "name": text(info.get("title"))[:200] or self._settings.name,
            "version": text(info.get("version"))[:50],
        }
        return Book(tuple(self._items), self._operations, self._schemes, named, tuple(self._problems))

    def add_document(self, document: Document) -> None:
        """A tool for each operation that is selected."""
        settings, schemas = self._settings, Schemas(document, self._settings.max_schema)
        self._schemes = dict(self._found_schemes(document))
        self._compare_paths(document)
        hosts = set(map(_host, server_urls(document.root.get("servers"))))
        elsewhere: Counter[str] = Counter()
        for path, method, item in operations(document):
            try:
                described = Described(document, path, method, item)
                if selected(settings.include, settings.exclude, described.id, described.tags, path, method):
                    self._add(described, schemas)
                    elsewhere.update({host for url in described.servers() if (host := _host(url)) not in hosts})
            except (Unresolved, Unusable) as reason:
                self._complain(f"{method.upper()} {path[:100]} is left out: {reason}")
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
                self._complain(f"{method.upper()} {path[:100]} is left out: it is not as OpenAPI wants it")

        for host, count in elsewhere.items():
            what = f"{count} operations have servers of their own ({host[:100]!r})"
            self._complain(f"{what}, and go to the endpoints all the same; make another upstream for them")

    def add_declared(self, declared: Declared) -> None:
        """The tool of one declared operation."""
        document = Document(_document_of(declared))
        described = Described(document, declared.path, declared.method.lower(), document.root["paths"][declared.path])
        try:
            self._add(described, Schemas(document, self._settings.max_schema), declared.name)
        except Unusable as reason:
            self._complain(f"operation {declared.name!r} is left out: {reason}")

    def _add(self, described: Described, schemas: Schemas, name: str = "") -> None:
        if len(self._operations) >= self._settings.max_tools:
            self._left_out += 1
            return
        name = name or self._names.fit(described.id)
        operation, entry = self._made(described, schemas, name)
        self._operations[name] = operation
        self._items.append(Item(self._settings.name, "tool", name, msgspec.json.encode(entry)))

    def _made(self, described: Described, schemas: Schemas, name: str) -> tuple[Operation, dict[str, Any]]:
        properties: dict[str, Any] = {}
        parameters: list[Parameter] = []
        for parameter, raw in described.parameters():
            slashes = parameter.place == "path" and parameter.name in self._settings.slashes
            parameters.append(msgspec.structs.replace(parameter, slashes=slashes))
            properties[parameter.argument] = described.schema_of(raw)
        body = described.body()
        if body is not None:
            properties[body[0].argument] = described.body_schema(*body)
        by_name = {each.name: each for each in parameters if each.place == "path"}
        shape = self._settings.shapes.get(name)
        shapers = _shapers(shape)
        input_schema = _input_schema(schemas, properties, parameters, body[0] if body else None)
        output_schema, wraps = self._output(described, schemas, shapers)
        operation = Operation(
            name=name,
            method=described.method,
            template=template(described.path, by_name),
            parameters=tuple(each for each in parameters if each.place != "path"),
            body=body[0] if body else None,
            accept=_accept(described.answers()[1]),
            credentials=self._credentials(described),
            tags=described.tags,
            input_schema=msgspec.json.encode(input_schema),
            output_schema=msgspec.json.encode(output_schema) if output_schema else b"",
            wraps=wraps,
            shapers=shapers,
        )
        shown = shape.arguments if shape and shape.arguments is not None else input_schema
        return operation, _entry(name, described, shown, output_schema, properties)

    def _output(self, described: Described, schemas: Schemas, shapers: Shapers) -> tuple[dict[str, Any], bool]:
        """The schema of an answer, always of an object, and whether it wraps what the document describes."""
        schema, _ = described.answers()
        is_promised = described.method != "HEAD" and self._settings.output_schemas != "none"
        if schema is None or not is_promised or shapers.response is not None:
            return {}, False
        is_loose = self._settings.output_schemas == "loose"
        wraps = not schemas.is_object(schema)
        wrapped = {"type": "object", "properties": {"result": schema}, "required": ["result"]}
        made = schemas.finished(wrapped if wraps else described.inlined(schema), "answer", loose=is_loose)
        return {**made, "type": "object"}, wraps

    def _credentials(self, described: Described) -> tuple[str, ...]:
        """The schemes to use: the first combination for which there are all secrets."""
        for each in described.security():
            if each and each <= self._schemes.keys():
                return tuple(sorted(each))
        return ()

    def _found_schemes(self, document: Document) -> Iterator[tuple[str, Scheme]]:
        """The security schemes for which there are secrets."""
        described = mapping(mapping(document.root.get("components")).get("securitySchemes"))
        for name in self._settings.credentials:
            try:
                if (scheme := _scheme(document.resolved(described.get(name)))) is not None:
                    yield name, scheme
                    continue
            except Unresolved:
                pass
            known = ", ".join(sorted(described)) or "none"
            self._complain(f"credentials: the document has no scheme {name!r} of type apiKey or http (it has: {known})")

    def _compare_paths(self, document: Document) -> None:
        """Tell when endpoints have another path than all servers of the document: then calls find nothing."""
        paths = [_path(url) for url in server_urls(document.root.get("servers")) if "{" not in url]
        own = [_path(url) for url in self._settings.endpoints]
        if paths and not set(paths) & set(own):
            self._complain(f"the document's servers have the path {paths[0]!r}, the endpoints have {own[0]!r}")

    def _complain(self, problem: str) -> None:
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(f"upstream {self._settings.name!r}: {problem}")


def _entry(
    name: str, described: Described, inputs: Mapping[str, Any], output: Mapping[str, Any], arguments: Iterable[str]
) -> dict[str, Any]:
    """The list entry of a tool."""
    summary = text(described.raw.get("summary"))[:MAX_DESCRIPTION].strip()
    description = (
        text(described.raw.get("description"))[:MAX_DESCRIPTION].strip()
        or summary
        or f"{described.method} {described.path}"
    )
    if described.raw.get("deprecated") is True:
        description = f"Deprecated. {description}"
    if paging := [each for each in arguments if _PAGING.fullmatch(each.lower())]:
        description = f"{description[: MAX_DESCRIPTION - 300]}\n\nAnswers in pages: {', '.join(paging[:6])}."
    entry: dict[str, Any] = {"name": name, "description": description[:MAX_DESCRIPTION], "inputSchema": inputs}
    if summary:
        entry["title"] = summary[:200]
    if output:
        entry["outputSchema"] = output
    entry["annotations"] = hints(described.method)
    if described.tags:
        entry["_meta"] = {TAGS: list(described.tags)}
    return entry


def hints(method: str) -> dict[str, bool]:
    """What the method promises (RFC 9110 section 9.2): whether it changes something, and whether a second time."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return {"readOnlyHint": True, "idempotentHint": True}
    is_idempotent = method in ("PUT", "DELETE")
    return {"readOnlyHint": False, "idempotentHint": is_idempotent, "destructiveHint": method != "POST"}


def _input_schema(
    schemas: Schemas, properties: dict[str, Any], parameters: Iterable[Parameter], body: Body | None
) -> dict[str, Any]:
    required = [each.argument for each in parameters if each.required]
    if body is not None and body.required:
        required.append(body.argument)
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return schemas.finished(schema, "request")


def _shapers(shape: Shape | None) -> Shapers:
    if shape is None:
        return Shapers()
    return Shapers(*(Shaper(each) if each else None for each in (shape.request, shape.response, shape.next)))


def _accept(media: tuple[str, ...]) -> str:
    """JSON before everything else that the document names."""
    json = [each for each in media if is_json_media(each)][:3]
    others = [f"{each};q=0.5" for each in media if each not in json and "*" not in each][:3]
    return ", ".join([*(json or ([] if others else ["application/json"])), *others, "*/*;q=0.1"])


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _path(url: str) -> str:
    try:
        return urlsplit(url).path.rstrip("/") or "/"
    except ValueError:
        return "/"


def _scheme(described: Mapping[str, Any]) -> Scheme | None:
    kind, place, name = described.get("type"), described.get("in"), text(described.get("name"))
    if kind == "apiKey" and place in ("query", "header", "cookie"):
        is_safe = name if place == "query" else TOKEN.fullmatch(name) and not is_reserved(name)
        return Scheme(place, name) if is_safe else None
    if kind == "http" and (
        prefix := {"bearer": "Bearer ", "basic": "Basic "}.get(text(described.get("scheme")).lower())
    ):
        return Scheme("header", "authorization", prefix)  # type: ignore[arg-type]  # one of the two
    return None


def _document_of(declared: Declared) -> dict[str, Any]:
    """A document with one operation."""
    parameters = [each.model_dump(by_alias=True, exclude_none=True) for each in declared.parameters]
    operation: dict[str, Any] = {
        "operationId": declared.name,
        "summary": declared.title,
        "description": declared.description,
        "tags": list(declared.tags),
        "parameters": parameters,
    }
    if declared.body is not None:
        operation["requestBody"] = {"required": True, "content": {declared.body_type: {"schema": declared.body}}}
    if declared.answer is not None:
        operation["responses"] = {"200": {"content": {"application/json": {"schema": declared.answer}}}}
    return {"openapi": "3.1.0", "paths": {declared.path: {declared.method.lower(): operation}}}
