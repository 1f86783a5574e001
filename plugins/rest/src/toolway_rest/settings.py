"""What operators declare of a REST API: where it is, its OpenAPI document or single operations, and what is changed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator, model_validator

from toolway.hookspecs.definitions import UpstreamSettings
from toolway.plugin import Definition, SecretRef
from toolway.plugin.http import ClientTls
from toolway_rest.selection import check_pattern
from toolway_rest.shaping import Shaper

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Style = Literal["simple", "label", "matrix", "form", "spaceDelimited", "pipeDelimited", "deepObject"]

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A header's name (RFC 9110 section 5.1)."""

RESERVED = frozenset(
    {
        *("host", "content-length", "content-type", "content-encoding", "content-transfer-encoding", "connection"),
        *("keep-alive", "accept-encoding", "expect", "upgrade", "te", "trailer", "transfer-encoding", "forwarded"),
        *("x-real-ip", "x-http-method", "x-http-method-override", "x-method-override"),
    }
)
"""Headers that neither settings nor arguments may touch, with those of `RESERVED_PREFIXES`."""

RESERVED_PREFIXES = ("proxy-", "x-forwarded-")

BY_ALIAS = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)
"""Of models with members that are called as words of Python: they are written as they are read."""

NAMED = r"^[A-Za-z0-9_.-]{1,64}$"


class Parameter(Definition):
    """One parameter of a declared operation, in the words of OpenAPI."""

    model_config = BY_ALIAS

    name: str = Field(min_length=1, max_length=128, description="Its name in the request.")
    place: Literal["path", "query", "header", "cookie"] = Field("query", alias="in", description="Where it is sent.")
    required: bool = Field(False, description="Whether each call has to have it; in the path it always is.")
    description: str = Field("", description="For models.")
    shape: dict[str, Any] = Field({"type": "string"}, alias="schema", description="JSON Schema of its value.")
    style: Style | None = Field(None, description="How arrays and objects are written; default: that of OpenAPI.")
    explode: bool | None = Field(None, description="Whether each element is written apart; default: that of OpenAPI.")


class Operation(Definition):
    """One endpoint as a tool."""

    name: str = Field(pattern=NAMED, description="The tool's name.")
    method: Method = Field("GET", description="The HTTP method.")
    path: str = Field(pattern="^/", description="Template of the path, such as `/pets/{id}`.")
    title: str = Field("", description="For people.")
    description: str = Field("", description="For models.")
    tags: tuple[str, ...] = Field((), description="Groups that it belongs to.")
    parameters: tuple[Parameter, ...] = Field((), description="What goes into path, query, headers and cookies.")
    body: dict[str, Any] | None = Field(None, description="JSON Schema of the body; without one there is none.")
    body_type: str = Field("application/json", description="Media type of the body.")
    answer: dict[str, Any] | None = Field(None, description="JSON Schema of the answer.")


class Shape(Definition):
    """What is changed of one tool's arguments and answers: JMESPath, or JSONPath where it begins with `$`."""

    request: str = Field("", max_length=500, description="Makes an object of the arguments of the request.")
    arguments: dict[str, Any] | None = Field(
        None, description="JSON Schema of the tool's arguments, where `request` makes others of them."
    )
    response: str = Field("", max_length=500, description="Makes what the client gets of the answer.")
    next: str = Field("", max_length=500, description="Makes the arguments for the next page of the answer.")

    @field_validator("request", "response", "next")
    @classmethod
    def _can_be_read(cls, expression: str) -> str:
        if expression:
            Shaper(expression)
        return expression


class RestUpstream(UpstreamSettings):
    """A REST API whose operations are tools."""

    model_config = BY_ALIAS

    kind: Literal["rest"] = Field("rest", description="A REST API.")
    endpoints: tuple[str, ...] = Field(
        min_length=1, max_length=64, description="Base URLs of its replicas; paths of operations are added to them."
    )
    document: str = Field(
        "", description="URL of its OpenAPI 3.0 or 3.1 document, or a path in the configuration file."
    )
    operations: tuple[Operation, ...] = Field(
        (), max_length=1000, description="Endpoints that are declared one by one."
    )
    include: tuple[str, ...] = Field(
        ("*",),
        description="Which operations of the document become tools: `operationId` patterns, or patterns that "
        "begin with `tag:`, `path:` or `method:`; `*` matches anything.",
    )
    exclude: tuple[str, ...] = Field((), description="What is left out of `include`.")
    shapes: dict[str, Shape] = Field({}, description="Changes to arguments and answers, by the tool's name.")
    slashes: tuple[str, ...] = Field(
        (), description="Names of path parameters whose values may have slashes, which are sent as `%2F`."
    )
    credentials: dict[str, SecretRef] = Field(
        {}, description="Secrets by the names of the document's security schemes (`apiKey` and `http`)."
    )
    headers: dict[str, SecretRef] = Field({}, description="Headers sent with every request, as secret references.")
    tls: ClientTls | None = Field(None, description="Own authority or client certificate.")
    health: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9/._~!$&'()*+,;=:@%-]*)?$",
        description="Path that is asked to find out whether an endpoint is up.",
    )
    output_schemas: Literal["loose", "exact", "none"] = Field(
        "loose",
        description="Whether tools promise what the document says of answers: without what is required or "
        "forbidden, to the letter, or not at all.",
    )
    max_tools: int = Field(1000, ge=1, le=5000, description="Most tools; the rest of the document is left out.")
    max_schema: int = Field(16_384, ge=512, le=65_536, description="Bytes of one schema; larger ones are shortened.")
    max_document: int = Field(16_777_216, ge=1024, le=67_108_864, description="Bytes of the document.")
    max_answer: int = Field(1_048_576, ge=1024, le=8_388_608, description="Bytes of an answer.")

    @field_validator("document")
    @classmethod
    def _is_no_file_of_the_api(cls, document: str, info: ValidationInfo) -> str:
        if document and info.context is not None and not is_url(document):
            raise ValueError("must be an http(s) URL; a file can only be named in the configuration file")
        return document

    @field_validator("include", "exclude")
    @classmethod
    def _are_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            check_pattern(pattern)
        return patterns

    @field_validator("headers")
    @classmethod
    def _are_free(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        for name in headers:
            if not TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no header name (RFC 9110 section 5.1)")
            if is_reserved(name):
                raise ValueError(f"header {name!r} is set by the gateway itself")
        return headers

    @model_validator(mode="after")
    def _has_something(self) -> RestUpstream:
        if not self.document and not self.operations:
            raise ValueError("needs a document, operations, or both")
        names = [each.name for each in self.operations]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"operations have the same name: {', '.join(sorted(twice))}")
        return self


def is_url(document: str) -> bool:
    """Whether a document is fetched, not read from a file."""
    return document.lower().startswith(("http://", "https://"))


def is_reserved(name: str) -> bool:
    """Whether a header is the gateway's own."""
    return name.lower() in RESERVED or name.lower().startswith(RESERVED_PREFIXES)
