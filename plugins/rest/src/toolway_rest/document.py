"""One OpenAPI document: read within bounds, its references resolved inside of it and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw

from toolway.plugin import InvalidInput

MAX_HOPS = 32
"""References that lead to references."""

MAX_POINTER = 2000
"""Characters of a reference."""

LEVELS = {"paths": 1, "components": 2}
"""Members of a document whose values are decoded apart: a decoder lets no other thread go on until it is done."""

_RAW = msgspec.json.Decoder(dict[str, Raw])


class Unresolved(ValueError):
    """A reference leads nowhere, in a circle, or out of the document."""


class Document:
    """A parsed document; every value in it is untrusted."""

    def __init__(self, root: dict[str, Any]) -> None:
        """Raises InvalidInput when it is no OpenAPI 3.0 or 3.1 document."""
        version = root.get("openapi")
        if not isinstance(version, str) or not re.fullmatch(r"3\.[01](\.\d+)?(-.*)?", version):
            what = "Swagger 2.0; convert it to OpenAPI 3" if "swagger" in root else "no OpenAPI 3.0 or 3.1 document"
            raise InvalidInput(f"the document is {what}")
        self.root = root

    @property
    def info(self) -> Mapping[str, Any]:
        """Title and version."""
        return mapping(self.root.get("info"))

    def at(self, pointer: str) -> Any:
        """The value that a reference names (RFC 6901 in a URI fragment); raises Unresolved."""
        if not pointer.startswith("#/"):
            raise Unresolved("a reference leads out of the document; bundle it into one")
        if len(pointer) > MAX_POINTER:
            raise Unresolved("a reference is too long")
        value: Any = self.root
        for token in pointer[2:].split("/"):
            key = unquote(token).replace("~1", "/").replace("~0", "~")
            if isinstance(value, list) and key.isdecimal() and len(key) < 8 and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                raise Unresolved(f"the reference {pointer[:200]!r} leads nowhere")
        return value

    def resolved(self, value: Any) -> dict[str, Any]:
        """The object that a value is or refers to; raises Unresolved when there is none."""
        for _ in range(MAX_HOPS):
            if not isinstance(value, dict):
                raise Unresolved("something is no object where OpenAPI wants one")
            reference = value.get("$ref")
            if not isinstance(reference, str):
                return value
            value = self.at(reference)
        raise Unresolved("references lead in a circle")


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object; nothing for anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """The value if it is an array; nothing for anything else."""
    return value if isinstance(value, list) else []


def text(value: Any) -> str:
    """The value if it is a string; nothing for anything else."""
    return value if isinstance(value, str) else ""


def parse(data: bytes) -> Document:
    """A document in JSON or YAML; raises InvalidInput."""
    is_json = data.lstrip()[:1] == b"{"
    try:
        root = _json(data) if is_json else _yaml(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError) as error:
        what = "JSON" if is_json else "YAML"
        raise InvalidInput(f"the document is no {what} that can be used: {str(error)[:200]}") from None
    if not isinstance(root, dict):
        raise InvalidInput("the document is no object")
    return Document(root)


def _json(data: bytes) -> Any:
    return {name: _opened(raw, LEVELS.get(name, 0)) for name, raw in _RAW.decode(data).items()}


def _opened(raw: Raw, levels: int) -> Any:
    """The value, of which the upper levels are decoded one by one."""
    if levels and bytes(memoryview(raw)[:1]) == b"{":
        return {name: _opened(each, levels - 1) for name, each in _RAW.decode(raw).items()}
    return msgspec.json.decode(raw)


def _yaml(data: bytes) -> Any:
    import yaml

    from toolway_rest.yaml_values import read_yaml

    try:
        return read_yaml(data)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InvalidInput(f"the document is no YAML{where}") from None
