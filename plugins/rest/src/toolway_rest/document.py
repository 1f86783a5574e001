"""One OpenAPI document: read within bounds, its references resolved inside of it and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import msgspec

from toolway.plugin import InvalidInput

MAX_UNFOLDED = 200_000
"""Values that a YAML document may have by its aliases, beyond one for each of its bytes."""

MAX_DEPTH = 200
MAX_HOPS = 32
"""References that lead to references."""


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
        root = msgspec.json.decode(data) if is_json else _yaml(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError) as error:
        what = "JSON" if is_json else "YAML"
        raise InvalidInput(f"the document is no {what} that can be used ({type(error).__name__})") from None
    if not isinstance(root, dict):
        raise InvalidInput("the document is no object")
    return Document(root)


def _yaml(data: bytes) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _plain(yaml.load(data, Loader=loader), [len(data) + MAX_UNFOLDED], 0)  # noqa: S506 - both loaders are safe ones
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise InvalidInput(f"the document is no YAML{where}") from None


def _plain(value: Any, left: list[int], depth: int) -> Any:
    """The value as JSON would have it; raises ValueError when it is too large with all aliases, or a circle."""
    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH:
        raise ValueError("too large or too deep")
    if isinstance(value, dict):
        return {_key(key): _plain(each, left, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, left, depth + 1) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _key(key: Any) -> str:
    return str(key).lower() if isinstance(key, bool) else str(key)
