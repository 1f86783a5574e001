"""Reads request bodies and query strings strictly: unknown keys, wrong types and odd text are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from pydantic import TypeAdapter, ValidationError

from toolway.errors import InvalidInput
from toolway.validation import problems, refusal


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
        try:
            value = _checked(msgspec.json.decode(body))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidInput("the body is not valid JSON in UTF-8") from None
        if not isinstance(value, dict):
            raise InvalidInput("the body must be a JSON object")
        value.pop("meta", None)
        return self._valid(value)

    def query(self, pairs: Sequence[tuple[str, str]]) -> Any:
        """The parameters of a query string; raises InvalidInput when one is unknown, repeated or not acceptable."""
        values = _checked(dict(pairs))
        if len(values) != len(pairs):
            raise InvalidInput("a query parameter is given more than once")
        return self._valid(values, strict=False)

    def _valid(self, values: dict[str, Any], *, strict: bool = True) -> Any:
        """Strictness is that of JSON: Python's would refuse lists where a model has tuples."""
        try:
            return self._adapter.validate_json(msgspec.json.encode(values), strict=strict)
        except ValidationError as error:
            raise refusal(problems(error, self._schema)) from None


def _checked(value: Any) -> Any:
    """The value with integral floats as integers, as JSON Schema counts them; refuses text that no database keeps."""
    if isinstance(value, dict):
        return {_checked(key): _checked(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_checked(member) for member in value]
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput("text must not contain the character U+0000")
    return int(value) if isinstance(value, float) and value.is_integer() else value
