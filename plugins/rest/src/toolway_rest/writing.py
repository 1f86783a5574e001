"""Writes one schema of an OpenAPI document as JSON Schema 2020-12."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Literal

import msgspec

from toolway_rest.document import Document, Unresolved, mapping, sequence
from toolway_rest.keywords import PLAIN, is_pattern, kept

Direction = Literal["request", "answer"]

MOST_PARTS = 20
"""Parts of an `allOf` that are looked at for whether a property is only read, or only written."""

MAX_DEPTH = 48
"""Deepest nesting that is kept; below it anything is accepted."""

SINGLE = frozenset(
    {
        *("items", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)
LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})

LOOSE = frozenset(
    {"type", "title", "description", "deprecated", "properties", "items", "prefixItems", "allOf", "anyOf", "oneOf"}
)
"""What is left of the schema of an answer that promises nothing: hints for models, which every answer satisfies."""


class TooLong(Exception):
    """A schema cannot fit, however it goes on."""


NARROWING = frozenset({"not", "if", "then", "else", "contains", "unevaluatedItems", "unevaluatedProperties"})
"""What refuses more where the schema inside of it accepts more: not kept in a schema that is shortened."""


class Mode(msgspec.Struct, frozen=True):
    """How schemas are written: for which direction, how deep, without prose (`terse`), without promises (`loose`)."""

    direction: Direction
    terse: bool = False
    loose: bool = False
    depth: int = MAX_DEPTH


class Writer:
    """Writes one schema and collects what it refers to; raises TooLong instead of writing much more than `left`."""

    def __init__(self, document: Document, name: Callable[[str], str], mode: Mode, left: int) -> None:
        """`name` tells what a reference is called in `$defs`, or raises Unresolved; `left` is in bytes."""
        self.references: dict[str, None] = {}
        self._document = document
        self._name = name
        self._mode = mode
        self._left = left
        self._looks = left

    def schema(self, schema: Any, depth: int = 0) -> Any:
        """The schema; `{}` accepts anything and stands for what cannot be read or is too deep."""
        self._spend(2)
        if isinstance(schema, bool):
            return schema if not self._mode.loose else {}
        if not isinstance(schema, dict) or depth > self._mode.depth:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self._reference(reference, schema)
        if hidden := self._hidden(schema) if depth or self._mode.direction == "answer" else ():
            schema = _without(schema, hidden)
        written = {key: made for key, value in schema.items() if (made := self._member(key, value, depth)) is not None}
        return self._mended(written, schema)

    def _spend(self, least: int) -> None:
        """Count what a part takes at least."""
        self._left -= least
        if self._left < 0:
            raise TooLong

    def _reference(self, pointer: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        try:
            name = self._name(pointer)
        except Unresolved:
            return {}
        self.references[pointer] = None
        written: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        if not self._mode.terse and isinstance(schema.get("description"), str):
            written["description"] = schema["description"]
        return _or_null(written) if schema.get("nullable") is True else written

    def _member(self, key: str, value: Any, depth: int) -> Any:
        if (self._mode.loose and key not in LOOSE) or (self._mode.terse and key in NARROWING):
            return None
        if key in PLAIN:
            made = kept(key, value, terse=self._mode.terse)
            self._spend(len(made) if isinstance(made, str | list | dict) else 0)
            return made
        if key in SINGLE:
            made = self.schema(value, depth + 1)
            return None if made == {} and key in NARROWING else made
        if key in LISTS and isinstance(value, list) and value:
            return [self.schema(each, depth + 1) for each in value]
        if key in MAPS and isinstance(value, dict):
            names = (name for name in value if key != "patternProperties" or is_pattern(name))
            return {name: self.schema(value[name], depth + 1) for name in names}
        return None

    def _hidden(self, schema: Mapping[str, Any]) -> set[str]:
        """The properties that are not for this direction; arguments, which are the top of a request, all are."""
        properties = mapping(schema.get("properties"))
        self._looks -= len(properties)
        if self._looks < 0:
            raise TooLong
        return {name for name, each in properties.items() if self._is_hidden(each)}

    def _is_hidden(self, schema: Any) -> bool:
        """Whether a property is not for this direction, as it says itself or in what it is made of."""
        word = "readOnly" if self._mode.direction == "request" else "writeOnly"
        if not isinstance(schema, dict) or not ("$ref" in schema or "allOf" in schema):
            return mapping(schema).get(word) is True
        try:
            found = self._document.resolved(schema)
            parts = [found, *map(self._document.resolved, sequence(found.get("allOf"))[:MOST_PARTS])]
        except Unresolved:
            return mapping(schema).get(word) is True
        return any(each.get(word) is True for each in (mapping(schema), *parts))

    def _mended(self, written: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """OpenAPI 3.0's own words as those of JSON Schema, and what would be invalid left out."""
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(written.get(exclusive), bool) and written.pop(exclusive) and bound in written:
                written[exclusive] = written.pop(bound)
        if "required" in written:
            written["required"] = list(dict.fromkeys(written["required"]))
        if "if" not in written:
            written = {key: value for key, value in written.items() if key not in ("then", "else")}
        if "oneOf" in written and "anyOf" not in written and self._may_overlap(written["oneOf"], schema):
            written["anyOf"] = written.pop("oneOf")
        if self._mode.loose:
            return _loosened(written)
        if written.get("format") in ("binary", "byte"):
            del written["format"]
            written["contentEncoding"] = "base64"
        if self._mode.direction == "request":
            _name_kinds(written, schema)
        return _nullable(written) if schema.get("nullable") is True else written

    def _may_overlap(self, choices: list[Any], schema: Mapping[str, Any]) -> bool:
        """Whether a good value could fit several of the choices, as they are written."""
        return self._mode.loose or self._mode.terse or "discriminator" in schema or {} in choices


def _without(schema: Mapping[str, Any], hidden: set[str]) -> dict[str, Any]:
    properties = {name: each for name, each in schema["properties"].items() if name not in hidden}
    required = [name for name in sequence(schema.get("required")) if name not in hidden]
    return {**schema, "properties": properties, **({"required": required} if "required" in schema else {})}


def _name_kinds(written: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Tell models what a discriminator may be: the names that it maps, and those of the schemas to choose from."""
    discriminator = mapping(schema.get("discriminator"))
    name, mapped = discriminator.get("propertyName"), mapping(discriminator.get("mapping"))
    if not isinstance(name, str) or not mapped or name in written.get("properties", {}):
        return
    choices = [mapping(each).get("$ref") for each in (*sequence(schema.get("oneOf")), *sequence(schema.get("anyOf")))]
    implied = [each.rpartition("/")[2] for each in choices if isinstance(each, str) and each not in mapped.values()]
    written["properties"] = {**written.get("properties", {}), name: {"enum": [*mapped, *implied]}}


def _nullable(written: dict[str, Any]) -> dict[str, Any]:
    """The schema, which OpenAPI 3.0 calls `nullable`, so that it accepts null."""
    kind = written.get("type")
    if kind is None and any(key in written for key in ("allOf", "anyOf", "oneOf")):
        return _or_null(written)
    if isinstance(kind, str):
        written["type"] = [kind, "null"] if kind != "null" else kind
    if isinstance(written.get("enum"), list) and None not in written["enum"]:
        written["enum"] = [*written["enum"], None]
    return written


def _or_null(written: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [written, {"type": "null"}]}


def _loosened(written: dict[str, Any]) -> dict[str, Any]:
    """The schema so that it tells what may come and refuses as little as it can."""
    written.pop("oneOf", None)
    if "anyOf" in written:
        written["anyOf"] = [*written["anyOf"], {}]
    kind = written.pop("type", "null")
    kinds = kind if isinstance(kind, list) else [kind]
    if kinds != ["null"]:  # some documents say null of what may be anything
        wider = (("integer", "number") if each == "integer" else (each,) for each in kinds)
        written["type"] = list(dict.fromkeys([*chain.from_iterable(wider), "null"]))
    return written
