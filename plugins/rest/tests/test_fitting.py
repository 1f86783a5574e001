"""Values are held against schemas in a time that neither the API's document nor a client decides."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from toolway_rest.fitting import MOST_WORK, mismatch

EXPRESSION = {"$ref": "#/$defs/Expression"}


def operation(sign: str) -> dict[str, Any]:
    parts = {"left": EXPRESSION, "right": EXPRESSION, "sign": {"enum": [sign]}}
    return {"type": "object", "properties": parts, "required": [*parts]}


CALCULATOR = {"$defs": {"Expression": {"oneOf": [{"type": "number"}, *map(operation, "+-*")]}}, **EXPRESSION}


def expression(depth: int, bottom: object) -> object:
    for _ in range(depth):
        bottom = {"left": bottom, "right": 1, "sign": "*"}
    return bottom


def chain(length: int, **end: Any) -> dict[str, Any]:
    """Each definition is made of three times the next one."""
    names = [{"$ref": f"#/$defs/T{number}"} for number in range(length + 1)]
    parts = {f"T{number}": {"allOf": [names[number + 1]] * 3} for number in range(length)}
    return {"$defs": {**parts, f"T{length}": end}, **names[0]}


def told(schema: object, value: object) -> str:
    return mismatch(msgspec.json.encode(schema), value)


@pytest.mark.parametrize("depth", [0, 1, 3, 30])
def test_a_mistake_in_a_value_of_a_schema_that_refers_to_itself_is_found(depth: int) -> None:
    began = time.process_time()

    assert told(CALCULATOR, expression(depth, 1)) == ""
    fault = told(CALCULATOR, expression(depth, "one"))

    assert fault.startswith("it: ") if depth <= 1 else fault
    assert time.process_time() - began < 1


def test_schemas_that_would_take_for_ever_are_left_to_the_api() -> None:
    assert told(chain(3, type="string"), 1).startswith("it: 1 is not of type")
    assert told(chain(40, type="string"), 1) == ""


def test_values_that_are_too_long_for_their_schema_are_left_to_the_api() -> None:
    names = chain(5, type="string")
    schema = {"$defs": names.pop("$defs"), "items": names}
    assert told(schema, [1]) == '0: 1 is not of type "string"'

    assert told(schema, [1] * (MOST_WORK // 500)) == ""


def test_a_large_document_of_the_usual_kind_is_held_against_its_schema() -> None:
    schema = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(2_000)}}

    assert told(schema, {"p1999": 1}) == 'p1999: 1 is not of type "string"'
