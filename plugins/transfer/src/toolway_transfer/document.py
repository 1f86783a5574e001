"""The document: what an export is and an import takes, version 1."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolway.plugin import InvalidInput, refusal
from toolway_transfer.envelope import Envelope

DEEPEST = 32
"""Tables and lists inside of each other; no definition comes near it."""


class Declared(BaseModel):
    """One object, with the members of its table in the configuration; what has its default is left out."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1, max_length=256, description="Unique in its collection.")


class Document(BaseModel):
    """Objects by collection, such as `upstreams`; objects refer to each other by name.

    In place of a credential stands `sealed:hidden`; the credentials themselves are left out or encrypted.
    """

    model_config = ConfigDict(extra="forbid", title="ToolwayExport")

    format: Literal["toolway-export"]
    version: Literal[1] = Field(description="Of this format; readers refuse one that they do not know.")
    objects: dict[str, list[Declared]] = Field(description="By collection, sorted by name.")
    credentials: Envelope | None = Field(None, description="The credentials, encrypted.")


def document(objects: Mapping[str, Any], credentials: Envelope | None) -> dict[str, Any]:
    """The JSON value of a document."""
    made: dict[str, Any] = {"format": "toolway-export", "version": 1, "objects": objects}
    if credentials is not None:
        made["credentials"] = credentials.model_dump(mode="json")
    return made


def is_document(value: Mapping[str, Any]) -> bool:
    """Whether it is one of ours, of whatever version."""
    return value.get("format") == "toolway-export"


def read(value: Mapping[str, Any]) -> Document:
    """The document; raises InvalidInput for what is none, or of another version."""
    if value.get("version") != 1:
        raise InvalidInput(
            f"the document has version {value.get('version')!r}, and version 1 is what is read here; "
            "export it anew with this release"
        )
    try:
        found = Document.model_validate(value)
    except ValidationError as error:
        raise refusal(error, Document, "the document: ") from None
    for kind, objects in found.objects.items():
        names = [one.name for one in objects]
        if len(set(names)) < len(names):
            raise InvalidInput(f"the document has two of one name in {kind}; names are unique, remove one")
    return found


def schema() -> dict[str, Any]:
    """The JSON Schema of documents."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Document.model_json_schema()}


def check_size(value: Any, max_bytes: int, max_objects: int) -> None:
    """Refuse what is too large or too deep to be looked at; raises InvalidInput."""
    if len(msgspec.json.encode(value)) > max_bytes:
        raise InvalidInput(f"the document is longer than {max_bytes} bytes (plugins.transfer.max_bytes); import parts")
    level, depth = [value], 0
    while level := [inner for each in level for inner in _inside(each)]:
        depth += 1
        if depth > DEEPEST:
            raise InvalidInput(f"the document is deeper than {DEEPEST} levels; nothing that can be imported is")
    objects = value.get("objects") if isinstance(value, dict) else None
    count = sum(len(each) for each in objects.values() if isinstance(each, list)) if isinstance(objects, dict) else 0
    if count > max_objects:
        raise InvalidInput(f"the document has more than {max_objects} objects (plugins.transfer.max_objects)")


def digest(value: Mapping[str, Any]) -> str:
    """What a declared object is told by: the SHA-256 of its canonical JSON."""
    return hashlib.sha256(msgspec.json.encode(plain(value), order="deterministic")).hexdigest()


def plain(value: Any) -> Any:
    """The JSON value in its one form: keys sorted, whole numbers without a fraction."""
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value
