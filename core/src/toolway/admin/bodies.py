"""Reads request bodies and query strings strictly: unknown keys, wrong types and odd text are refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from toolway.errors import InvalidInput
from toolway.validation import Location, problems


def adapter_of(schema: Any) -> TypeAdapter[Any]:
    """What validates values of a model, a union of models or a prepared adapter."""
    return schema if isinstance(schema, TypeAdapter) else TypeAdapter(schema)


class Reader:
    """Reads values of one schema: a model, a union of models or a prepared adapter."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._adapter = adapter_of(schema)

    def body(self, body: bytes) -> Any:
        """The value of a JSON body; the read-only member `meta` of answers is accepted and ignored.

        Raises:
            InvalidInput: it is not JSON, not an object, or not what the schema says; names every offending member.
        """
        value = decode(body)
        if not isinstance(value, dict):
            raise InvalidInput("the body must be a JSON object")
        value.pop("meta", None)
        try:
            return self._adapter.validate_json(msgspec.json.encode(value), strict=True)
        except ValidationError as error:
            raise _refused(error, self._schema) from None

    def query(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """The parameters of a query string.

        Raises:
            InvalidInput: one is unknown, repeated or not acceptable.
        """
        values = _checked(dict(pairs))
        if len(values) != len(pairs):
            raise InvalidInput("a query parameter is given more than once")
        try:
            return self._adapter.validate_python(values)
        except ValidationError as error:
            raise _refused(error, self._schema) from None


def decode(body: bytes) -> Any:
    """Any JSON value, with integral floats as integers, as JSON Schema counts them; raises InvalidInput."""
    try:
        return _checked(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidInput("the body is not valid JSON in UTF-8") from None


def _checked(value: Any) -> Any:
    """The value with integral floats as integers; refuses text that no database keeps."""
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidInput("text must not contain the character U+0000")
        return value
    if isinstance(value, dict):
        return {_checked(key): _checked(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_checked(member) for member in value]
    return int(value) if isinstance(value, float) and math.isfinite(value) and value.is_integer() else value


def _refused(error: ValidationError, schema: Any) -> InvalidInput:
    """All failures, each with a JSON pointer; input values are not repeated, they may be secret."""
    found = problems(error, schema)
    errors = [{"pointer": _pointer(each.location), "detail": each.sentence} for each in found[:50]]
    return InvalidInput("; ".join(each.sentence for each in found[:5]), errors=errors)


def _pointer(location: Location) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
