"""A server made of an OpenAPI document: checks every request against it, and answers with generated examples.

It shares no code with the plugin: openapi-schema-validator checks schemas, values are read back from the wire here.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any
from urllib.parse import unquote

import request_values
from aiohttp import web
from aiohttp.test_utils import TestServer
from openapi_schema_validator import OAS30Validator, OAS30WriteValidator, OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from examples import example, flat

IGNORED = ("accept", "content-type", "authorization")
"""Headers that are no parameters (OpenAPI 3.1, section 4.8.12.1)."""


class GeneratedApi:
    """Serves each operation of a document; `faults` has what was wrong with requests, `calls` how many came."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.faults: list[str] = []
        self.calls: Counter[str] = Counter()
        self._routes = [
            (re.compile(re.sub(r"\\{[^{}]+\\}", "([^/]+)", re.escape(path.partition("#")[0]))), path)
            for path in document["paths"]
        ]
        self._routes.sort(key=lambda route: route[1].count("{"))
        self._registry = Registry().with_resource("urn:doc", DRAFT202012.create_resource(document))
        self.server = TestServer(self._app(), host="127.0.0.1")

    @property
    def url(self) -> str:
        return str(self.server.make_url("/")).rstrip("/")

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        return app

    async def _serve(self, request: web.Request) -> web.Response:
        """The answer of the first operation that the request is right for; several may have one path and method."""
        raw_path, method = request.raw_path.partition("?")[0], request.method.lower()
        faults = [f"{request.method} {request.raw_path} is nothing in the document"]
        for pattern, path in self._routes:
            found, item = pattern.fullmatch(raw_path), self.document["paths"][path]
            if found and method in item:
                name = item[method].get("operationId") or f"{request.method} {path}"
                wrong = await self._operation_faults(request, item[method], item, path, found.groups())
                if not wrong:
                    self.calls[name] += 1
                    return self._example(item[method])
                faults = [f"{name}: {fault}" for fault in wrong]
        self.faults += faults
        return web.json_response({"message": "; ".join(faults)}, status=400)

    async def _operation_faults(
        self, request: web.Request, operation: dict[str, Any], item: dict[str, Any], path: str, values: tuple[str, ...]
    ) -> list[str]:
        raw_query = request.raw_path.partition("?")[2]
        parameters = [self.resolved(each) for each in (*item.get("parameters", ()), *operation.get("parameters", ()))]
        in_path = dict(zip(re.findall(r"\{([^{}]+)\}", path), values, strict=True))
        faults = [fault for each in parameters for fault in self._parameter_faults(request, each, in_path, raw_query)]
        return faults + await self._body_faults(request, operation)

    def resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in value:
            found: Any = self.document
            for token in value["$ref"][2:].split("/"):
                key = unquote(token).replace("~1", "/").replace("~0", "~")
                found = found[int(key)] if isinstance(found, list) else found[key]
            value = found
        return value

    def _example(self, operation: dict[str, Any]) -> web.Response:
        answers = operation.get("responses", {})
        status = next((code for code in answers if code.startswith("2")), "")
        answer = self.resolved(answers[status]) if status else {}
        status = status if status.isdecimal() else "200"
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
        if place == "header" and name.lower() in IGNORED:
            return []
        value = self._value(request, described, in_path, raw_query)
        if value is None:
            return [f"{place} parameter {name} is missing"] if described.get("required") else []
        schema = self._schema(described)
        fitting = [each for each in request_values.readings(value) if not self._faults(schema, each)]
        return [] if fitting else [f"{place} parameter {name} is {value!r}: {self._faults(schema, value)}"]

    def _schema(self, described: dict[str, Any]) -> dict[str, Any]:
        contents = [*described.get("content", {}).values(), {}]
        schema: dict[str, Any] = described.get("schema", contents[0].get("schema", {}))
        return schema

    def _value(self, request: web.Request, described: dict[str, Any], in_path: dict[str, str], raw_query: str) -> Any:
        name, place = described["name"], described["in"]
        flattened = flat(self._schema(described), self.resolved, 0)
        kind = str(flattened.get("type", "object" if "properties" in flattened else "string"))
        if place == "query":
            value = request_values.of_query(raw_query, described, kind, flattened.get("properties", {}))
            return json.loads(value) if "content" in described and value is not None else value
        text = {"path": in_path, "header": request.headers, "cookie": request.cookies}[place].get(name)
        return None if text is None else request_values.one_text(text, described, kind)

    async def _body_faults(self, request: web.Request, operation: dict[str, Any]) -> list[str]:
        if "requestBody" not in operation:
            return ["there is a body"] if request.can_read_body else []
        described = self.resolved(operation["requestBody"])
        if not request.can_read_body:
            return ["the body is missing"] if described.get("required") else []
        contents = {media.partition(";")[0].strip(): each for media, each in described["content"].items()}
        content = contents.get(request.content_type, contents.get("*/*"))
        if content is None:
            return [f"the body is {request.content_type}"]
        schema = content.get("schema", {})
        if request.content_type.endswith("json"):
            return [f"the body {fault}" for fault in self._faults(schema, await request.json(), OAS30WriteValidator)]
        if request.content_type not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            return []
        properties = flat(schema, self.resolved, 0).get("properties", {})
        arrays = {name for name, each in properties.items() if self.resolved(each).get("type") == "array"}
        form = await request_values.of_form(request, arrays)
        fits = any(not self._faults(schema, each, OAS30WriteValidator) for each in request_values.readings(form))
        return [] if fits else [f"the form {form!r}: {self._faults(schema, form, OAS30WriteValidator)}"]

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
