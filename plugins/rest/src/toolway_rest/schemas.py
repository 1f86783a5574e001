"""JSON Schemas of tools, made of an OpenAPI document's: only what is used, within a bound of bytes, without cycles."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw

from toolway_rest.document import MAX_HOPS, Document, Unresolved, mapping, sequence

Direction = Literal["request", "answer"]

MAX_DEPTH = 48
"""Deepest nesting that is kept; below it anything is accepted."""

PLAIN = frozenset(
    {
        *("type", "enum", "const", "format", "pattern", "multipleOf", "minimum", "maximum", "minLength", "maxLength"),
        *("minItems", "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties"),
        *("required", "dependentRequired", "default", "deprecated", "contentEncoding", "contentMediaType"),
        *("exclusiveMinimum", "exclusiveMaximum", "title", "description"),
    }
)
SINGLE = frozenset(
    {
        *("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
PROSE = frozenset({"title", "description", "default", "deprecated"})

LOOSE = frozenset(
    {"type", "title", "description", "deprecated", "properties", "items", "prefixItems", "allOf", "anyOf"}
)
"""What is left of the schema of an answer that promises nothing: hints for models, which every answer satisfies."""


class Mode(msgspec.Struct, frozen=True):
    """How schemas are written: for which direction, without prose (`terse`), without promises (`loose`)."""

    direction: Direction
    terse: bool = False
    loose: bool = False


class Definition(msgspec.Struct, frozen=True):
    """One schema that others refer to, encoded, and what it refers to itself."""

    raw: Raw
    references: tuple[str, ...]


class Schemas:
    """Makes schemas of one document; what several of them refer to is made once."""

    def __init__(self, document: Document, limit: int) -> None:
        """`limit` is the bytes of one finished schema."""
        self._document = document
        self._limit = limit
        self._made: dict[tuple[str, Mode], Definition] = {}
        self._names: dict[str, str] = {}
        self._taken: set[str] = set()

    def finished(self, schema: dict[str, Any], direction: Direction, *, loose: bool = False) -> dict[str, Any]:
        """The schema with its own `$defs`; shortened step by step until it fits.

        First prose goes, then the definitions that are furthest from the top, then all depth; what was there accepts
        anything. Definitions come encoded.
        """
        for terse, depth in ((False, MAX_DEPTH), (True, MAX_DEPTH), (True, 6), (True, 4), (True, 2)):
            mode = Mode(direction, terse, loose)
            writer = Writer(self, mode, depth)
            top = writer.schema(schema, 0)
            size = len(msgspec.json.encode(top))
            if size > self._limit:
                continue
            definitions, is_whole = self._definitions(writer.references, mode, self._limit - size)
            if is_whole or terse:
                return {**top, "$defs": definitions} if definitions else top
        return {"type": "object"}

    def is_object(self, schema: Any, depth: int = 0) -> bool:
        """Whether every value of a schema is an object, as far as it says so."""
        try:
            found = self._document.resolved(schema)
        except Unresolved:
            return False
        if depth > MAX_DEPTH or found.get("nullable") is True:
            return False
        if "type" in found or "properties" in found:
            return bool(found.get("type", "object") == "object")
        if parts := sequence(found.get("allOf")):
            return any(self.is_object(part, depth + 1) for part in parts)
        parts = sequence(found.get("oneOf")) or sequence(found.get("anyOf"))
        return bool(parts) and all(self.is_object(part, depth + 1) for part in parts)

    @staticmethod
    def inlined(schema: dict[str, Any]) -> dict[str, Any]:
        """A finished schema whose top is no reference: clients look there for `type` and `properties`."""
        for _ in range(MAX_HOPS):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            found = msgspec.json.decode(schema["$defs"][reference.removeprefix("#/$defs/")])
            schema = {**found, "$defs": schema["$defs"]}
        return schema

    def name(self, pointer: str) -> str:
        """What a definition is called in `$defs`; raises Unresolved when the reference leads nowhere."""
        known = self._names.get(pointer)
        if known is None:
            self._document.at(pointer)
            known = re.sub(r"[^A-Za-z0-9_.-]", "_", pointer.rpartition("/")[2])[:64] or "schema"
            if known in self._taken:
                known += "_" + hashlib.blake2b(pointer.encode(), digest_size=4).hexdigest()
            self._taken.add(known)
            self._names[pointer] = known
        return known

    def _definitions(self, wanted: Mapping[str, None], mode: Mode, left: int) -> tuple[dict[str, Raw], bool]:
        """What is referred to, the nearest first, and whether all of it is there."""
        found: dict[str, Raw] = {}
        queue, is_whole = deque(wanted), True
        while queue:
            pointer = queue.popleft()
            name = self._names[pointer]
            if name in found:
                continue
            made = self._definition(pointer, mode)
            left -= len(name) + len(made.raw) + 4
            if left < 0:
                is_whole, found[name] = False, Raw(b"{}")
                left += len(made.raw)
            else:
                found[name] = made.raw
                queue.extend(made.references)
        return found, is_whole

    def _definition(self, pointer: str, mode: Mode) -> Definition:
        key = pointer, mode
        if key not in self._made:
            writer = Writer(self, mode, MAX_DEPTH)
            written = writer.schema(self._document.at(pointer), 0)
            self._made[key] = Definition(Raw(msgspec.json.encode(written)), tuple(writer.references))
        return self._made[key]


class Writer:
    """Writes one schema as JSON Schema 2020-12 and collects what it refers to."""

    def __init__(self, schemas: Schemas, mode: Mode, depth: int) -> None:
        self.references: dict[str, None] = {}
        self._schemas = schemas
        self._mode = mode
        self._depth = depth

    def schema(self, schema: Any, depth: int) -> Any:
        """The schema; `{}` accepts anything and stands for what cannot be read or is too deep."""
        if isinstance(schema, bool):
            return schema if not self._mode.loose else {}
        if not isinstance(schema, dict) or depth > self._depth:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._reference(reference, schema)
        written = {key: kept for key, value in schema.items() if (kept := self._member(key, value, depth)) is not None}
        return self._mended(written, schema)

    def _reference(self, pointer: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        try:
            name = self._schemas.name(pointer)
        except Unresolved:
            return {}
        self.references[pointer] = None
        written: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        if not self._mode.terse and isinstance(schema.get("description"), str):
            written["description"] = schema["description"]
        return {"anyOf": [written, {"type": "null"}]} if schema.get("nullable") is True else written

    def _member(self, key: str, value: Any, depth: int) -> Any:
        if self._mode.loose and key not in LOOSE and key != "oneOf":
            return None
        if key in PLAIN:
            return None if self._mode.terse and key in PROSE else value
        if key in SINGLE:
            return self.schema(value, depth + 1)
        if key in LISTS and isinstance(value, list):
            return [self.schema(each, depth + 1) for each in value]
        if key in MAPS and isinstance(value, dict):
            return {name: self.schema(each, depth + 1) for name, each in value.items() if not self._is_hidden(each)}
        return None

    def _is_hidden(self, schema: Any) -> bool:
        """Whether a property is not for this direction."""
        return mapping(schema).get("readOnly" if self._mode.direction == "request" else "writeOnly") is True

    def _mended(self, written: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """OpenAPI 3.0's own words as those of JSON Schema, and what would be invalid left out."""
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(written.get(exclusive), bool) and written.pop(exclusive) and bound in written:
                written[exclusive] = written.pop(bound)
        if "required" in written:
            hidden = {name for name, each in mapping(schema.get("properties")).items() if self._is_hidden(each)}
            names = written["required"] if isinstance(written["required"], list) else []
            written["required"] = [name for name in names if isinstance(name, str) and name not in hidden]
        if self._mode.loose:
            return _loosened(written)
        if written.get("format") in ("binary", "byte"):
            del written["format"]
            written["contentEncoding"] = "base64"
        if schema.get("nullable") is True:
            _allow_null(written)
        discriminator = mapping(schema.get("discriminator"))
        name, known = discriminator.get("propertyName"), mapping(discriminator.get("mapping"))
        if isinstance(name, str) and known and name not in written.get("properties", {}):
            written["properties"] = {**written.get("properties", {}), name: {"enum": list(known)}}
        return written


def _allow_null(written: dict[str, Any]) -> None:
    kind = written.get("type")
    if isinstance(kind, str):
        written["type"] = [kind, "null"]
    if isinstance(written.get("enum"), list) and None not in written["enum"]:
        written["enum"] = [*written["enum"], None]


def _loosened(written: dict[str, Any]) -> dict[str, Any]:
    """The schema so that it tells what may come and refuses as little as it can."""
    if "oneOf" in written:
        written["anyOf"] = written.pop("oneOf")
    if "anyOf" in written:
        written["anyOf"] = [*written["anyOf"], {}]
    kind = written.get("type")
    if isinstance(kind, str):
        written["type"] = [kind, "null"] if kind != "integer" else ["integer", "number", "null"]
    return written
