"""A server made of an OpenAPI document: checks every request against it, and answers with generated examples.

It shares no code with the plugin: openapi-schema-validator checks schemas, values are read back from the wire here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from aiohttp.test_utils import TestServer
from openapi_schema_validator import OAS30Validator, OAS30WriteValidator, OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from examples import example

METHODS = ("get", "head", "post", "put", "patch", "delete")


class GeneratedApi:
    """Serves each operation of a document; `faults` has what was wrong with requests, `calls` how many came."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.faults: list[str] = []
        self.calls: Counter[str] = Counter()
        self.fails: dict[str, int] = {}
        self._routes = [
            (re.compile(re.sub(r"\\{[^{}]+\\}", "([^/]+)", re.escape(path))), path) for path in document["paths"]
        ]
        self._routes.sort(key=lambda route: route[1].count("{"))
        self._registry = Registry().with_resource("urn:doc", DRAFT202012.create_resource(document))
        self.server = TestServer(self._app(), host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_get("/openapi.json", self._document)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        return app

    async def _document(self, request: web.Request) -> web.Response:
        return web.json_response(self.document)

    async def _serve(self, request: web.Request) -> web.Response:
        raw_path, _, raw_query = request.raw_path.partition("?")
        for pattern, path in self._routes:
            found = pattern.fullmatch(raw_path)
            item = self.document["paths"][path]
            if found and request.method.lower() in item:
                operation = item[request.method.lower()]
                return await self._answer(request, operation, item, path, found.groups(), raw_query)
        self.faults.append(f"{request.method} {request.raw_path} is nothing in the document")
        return web.json_response({"message": "no such operation"}, status=404)

    async def _answer(
        self,
        request: web.Request,
        operation: dict[str, Any],
        item: dict[str, Any],
        path: str,
        values: tuple[str, ...],
        raw_query: str,
    ) -> web.Response:
        name = operation["operationId"]
        self.calls[name] += 1
        if name in self.fails:
            return web.json_response({"message": "it failed"}, status=self.fails[name], headers={"retry-after": "0"})
        parameters = [self.resolved(each) for each in (*item.get("parameters", ()), *operation.get("parameters", ()))]
        in_path = dict(zip(re.findall(r"\{([^{}]+)\}", path), values, strict=True))
        faults = [fault for each in parameters for fault in self._parameter_faults(request, each, in_path, raw_query)]
        faults += await self._body_faults(request, operation)
        if faults:
            self.faults += [f"{name}: {fault}" for fault in faults]
            return web.json_response({"message": "; ".join(faults)}, status=400)
        return self._example(operation)

    def resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            found: Any = self.document
            for token in value["$ref"][2:].split("/"):
                key = unquote(token).replace("~1", "/").replace("~0", "~")
                found = found[int(key)] if isinstance(found, list) else found[key]
            value = found
        return value

    def _example(self, operation: dict[str, Any]) -> web.Response:
        status, answer = next(
            (code, self.resolved(each)) for code, each in operation["responses"].items() if code.startswith("2")
        )
        for media, content in sorted(answer.get("content", {}).items(), key=lambda each: not each[0].endswith("json")):
            if media.endswith("json"):
                body = json.dumps(example(content.get("schema", {}), self.resolved, "answer"))
                return web.Response(status=int(status), text=body, content_type=media)
            return web.Response(status=int(status), body=b"\x89PNG", content_type=media)
        return web.Response(status=int(status))

    def _parameter_faults(
        self, request: web.Request, described: dict[str, Any], in_path: dict[str, str], raw_query: str
    ) -> list[str]:
        name, place = described["name"], described["in"]
        if place == "path":
            texts = [in_path[name]]
            value: Any = unquote(in_path[name])
        elif place == "query":
            value = self._from_query(described, raw_query)
            texts = [] if value is None else [""]
        else:
            said = request.headers.get(name) if place == "header" else request.cookies.get(name)
            value, texts = said, [] if said is None else [said]
        if not texts:
            return [f"{place} parameter {name} is missing"] if described.get("required") else []
        schema = described.get("schema", {})
        fitting = [each for each in _readings(value) if not self._faults(schema, each)]
        return [] if fitting else [f"{place} parameter {name} is {value!r}: {self._faults(schema, value)}"]

    def _from_query(self, described: dict[str, Any], raw_query: str) -> Any:
        name, style = described["name"], described.get("style", "form")
        pairs = parse_qsl(raw_query, keep_blank_values=True)
        kind = self.resolved(described.get("schema", {})).get("type")
        is_array = kind == "array"
        if style == "deepObject":
            deep = _deep([(key, text) for key, text in pairs if key.startswith(f"{name}[")])
            return deep.get(name)
        values = [text for key, text in pairs if key == name]
        if not values:
            return None
        if is_array and not described.get("explode", style == "form"):
            return values[0].split({"pipeDelimited": "|", "spaceDelimited": " "}.get(style, ","))
        return values if is_array else values[0]

    async def _body_faults(self, request: web.Request, operation: dict[str, Any]) -> list[str]:
        if "requestBody" not in operation:
            return ["there is a body"] if request.can_read_body else []
        described = self.resolved(operation["requestBody"])
        if not request.can_read_body:
            return ["the body is missing"] if described.get("required") else []
        content = described["content"].get(request.content_type) or described["content"].get("*/*")
        if content is None:
            return [f"the body is {request.content_type}"]
        value: Any
        if request.content_type.startswith("multipart/"):
            value = _deep([(key, str(text)) for key, text in (await request.post()).items()])
        elif request.content_type == "application/x-www-form-urlencoded":
            value = _deep(parse_qsl(await request.text(), keep_blank_values=True))
        elif request.content_type.endswith("json"):
            faults = self._faults(content.get("schema", {}), await request.json(), OAS30WriteValidator)
            return [f"the body {fault}" for fault in faults]
        else:
            return []
        schema = content.get("schema", {})
        return (
            []
            if any(not self._faults(schema, each, OAS30WriteValidator) for each in _readings(value))
            else [f"the form {value!r}"]
        )

    def _faults(self, schema: dict[str, Any], value: Any, old: Any = OAS30Validator) -> list[str]:
        is_old = self.document["openapi"].startswith("3.0")
        checker = (old if is_old else OAS31Validator)(_absolute(schema), registry=self._registry)
        return [
            f"{'/'.join(map(str, each.absolute_path))}: {each.message[:200]}" for each in checker.iter_errors(value)
        ]


def _absolute(schema: Any) -> Any:
    """The schema with references into the document's resource."""
    if isinstance(schema, dict):
        return {k: "urn:doc" + v if k == "$ref" and isinstance(v, str) else _absolute(v) for k, v in schema.items()}
    return [_absolute(each) for each in schema] if isinstance(schema, list) else schema


def _readings(value: Any) -> list[Any]:
    """What a text on the wire may have meant: itself, or with all numbers and booleans read."""
    return [value, _typed(value)]


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    if isinstance(value, str) and re.fullmatch(r"true|false|null|-?\d+(\.\d+)?", value):
        return json.loads(value)
    return value


def _deep(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """`a[b][c]=x` as nested objects, `a[0]=x` as arrays."""
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
