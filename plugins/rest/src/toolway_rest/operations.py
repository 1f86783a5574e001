"""What is known of one operation once its document is read: all that a call of its tool needs."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from toolway.hookspecs.routing import Item
from toolway_rest.shaping import Shaper

Place = Literal["path", "query", "header", "cookie"]
BodyKind = Literal["json", "form", "multipart", "text", "binary"]


class Parameter(msgspec.Struct, frozen=True):
    """One parameter: `argument` is its name in the tool's schema; `is_json` means that its value is sent as JSON."""

    argument: str
    name: str
    place: Place
    style: str
    explode: bool
    required: bool = False
    reserved: bool = False
    is_json: bool = False
    slashes: bool = False


class Encoding(msgspec.Struct, frozen=True):
    """How one member of a form is written."""

    style: str = "form"
    explode: bool = True
    content_type: str = ""


class Body(msgspec.Struct, frozen=True):
    """The body: `binary` names the members of a form whose values are base64."""

    argument: str
    kind: BodyKind
    content_type: str
    required: bool = False
    encodings: dict[str, Encoding] = {}
    binary: frozenset[str] = frozenset()


class Scheme(msgspec.Struct, frozen=True):
    """A security scheme for which there is a secret: where its value goes."""

    place: Literal["query", "header", "cookie"]
    name: str
    prefix: Literal["", "Bearer ", "Basic "] = ""


class Shapers(msgspec.Struct, frozen=True):
    """What changes arguments and answers."""

    request: Shaper | None = None
    response: Shaper | None = None
    next: Shaper | None = None


class Operation(msgspec.Struct, frozen=True, eq=False):
    """One operation. `template` is the path in parts: percent-encoded text, or a parameter.

    `credentials` are the security schemes to use. `wraps` tells that an answer is put into an object, as `result`.
    """

    name: str
    method: str
    template: tuple[str | Parameter, ...]
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    accept: str = "application/json, */*;q=0.1"
    credentials: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    input_schema: bytes = b"{}"
    output_schema: bytes = b""
    wraps: bool = False
    shapers: Shapers = Shapers()


class Book(msgspec.Struct, frozen=True, eq=False):
    """Everything that one upstream offers."""

    items: tuple[Item, ...] = ()
    operations: dict[str, Operation] = {}
    schemes: dict[str, Scheme] = {}
    info: dict[str, Any] = {}
    problems: tuple[str, ...] = ()
