"""Arguments of prompts: clients list and send them as text, templates get JSON values that fit the schema."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import jsonschema_rs
import msgspec

from toolway.plugin import InvalidInput
from toolway_prompts.prompt import Argument, Prompt

MOST_ARGUMENTS = 256 * 1024
"""Bytes of JSON of all arguments together."""

MOST_COMPLETIONS = 100
"""MCP 2026-07-28, completion."""

REFERENCE, MOST_REFERENCES = re.compile(rb'"\$(?:ref|dynamicRef|recursiveRef)"'), 8
"""In the schema of an argument: with many of them, each to what refers on, a value would be looked at for ever."""

TEXTS = {"true": True, "false": False}


def entry(prompt: Prompt) -> dict[str, Any]:
    """How the prompt is listed; schemas of arguments, which MCP has no place for, are in `_meta`."""
    schemas = {each.name: each.json_schema for each in prompt.arguments if each.json_schema != {"type": "string"}}
    meta = {"toolway/version": prompt.version, "toolway/digest": prompt.digest}
    listed = {
        "name": prompt.name,
        "title": prompt.title,
        "description": prompt.description,
        "arguments": [_listed(argument) for argument in prompt.arguments],
        "_meta": {**meta, **({"toolway/arguments": schemas} if schemas else {})},
    }
    return {key: value for key, value in listed.items() if value}


def _listed(argument: Argument) -> dict[str, Any]:
    named = {"name": argument.name, "title": argument.title, "description": argument.description}
    return {**{key: value for key, value in named.items() if value}, "required": argument.required}


def read_arguments(prompt: Prompt, given: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The values for templates, and the names of those that have none; raises InvalidInput."""
    if len(msgspec.json.encode(given)) > MOST_ARGUMENTS:
        raise InvalidInput(f"the arguments of prompt {prompt.name!r} are larger than {MOST_ARGUMENTS} bytes")
    known = {argument.name for argument in prompt.arguments}
    if unknown := sorted(given.keys() - known):
        takes = ", ".join(sorted(known)) or "none"
        raise InvalidInput(f"prompt {prompt.name!r} has no argument {unknown[0][:64]!r}; it takes {takes}")
    values, absent = {}, []
    for argument in prompt.arguments:
        if argument.name in given:
            values[argument.name] = _value(prompt, argument, given[argument.name])
        elif argument.required:
            raise InvalidInput(f"prompt {prompt.name!r} needs the argument {argument.name!r}")
        elif "default" in argument.json_schema:
            values[argument.name] = argument.json_schema["default"]
        else:
            absent.append(argument.name)
    return values, tuple(absent)


def _value(prompt: Prompt, argument: Argument, given: Any) -> Any:
    value = _converted(argument.json_schema, given) if isinstance(given, str) else given
    if problem := _mismatch(msgspec.json.encode(argument.json_schema), value):
        what = f"argument {argument.name!r} of prompt {prompt.name!r} does not fit its schema"
        raise InvalidInput(f"{what}: {problem}")
    return value


def _mismatch(schema: bytes, value: Any) -> str:
    """What is wrong; empty when nothing is. What a schema with references does not like takes too long to be told."""
    try:
        if (validator := _validator(schema)).is_valid(value):
            return ""
        return "see the schema" if REFERENCE.search(schema) else str(next(validator.iter_errors(value)).message)[:300]
    except (jsonschema_rs.ValidationError, InvalidInput) as error:
        return str(error.message)[:300]


def _converted(schema: Mapping[str, Any], text: str) -> Any:
    """A text as the type that the schema wants; as it is if it is none of that type."""
    types = schema.get("type", "string")
    wanted = {types} if isinstance(types, str) else set(types) if isinstance(types, list) else set()
    if "string" in wanted or not wanted:
        return text
    if "boolean" in wanted and text.lower() in TEXTS:
        return TEXTS[text.lower()]
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


@lru_cache(maxsize=1024)
def _validator(schema: bytes) -> Any:
    """Never fetches what a schema refers to; patterns take time in proportion to the text. Raises InvalidInput."""
    if len(REFERENCE.findall(schema)) > MOST_REFERENCES:
        raise InvalidInput(f"it has more than {MOST_REFERENCES} references")
    options = jsonschema_rs.RegexOptions()
    return jsonschema_rs.validator_for(schema.decode(), offline=True, pattern_options=options)


def schema_problem(argument: Argument) -> str:
    """Why the schema of an argument cannot be used; empty when it can."""
    schema = msgspec.json.encode(argument.json_schema)
    try:
        _validator(schema)
        problem = _mismatch(schema, argument.json_schema["default"]) if "default" in argument.json_schema else ""
    except Exception as error:  # noqa: BLE001 - the library raises several kinds for what it cannot compile
        problem = str(error)[:300]
    return f"the schema of argument {argument.name!r} cannot be used: {problem}" if problem else ""


def choices(argument: Argument) -> Sequence[str]:
    """What a person can choose from."""
    schema = argument.json_schema
    if schema.get("type") == "boolean":
        return ("true", "false")
    known = schema.get("enum") or schema.get("examples") or ()
    return [each if isinstance(each, str) else msgspec.json.encode(each).decode() for each in known]


def completed(prompt: Prompt, name: str, typed: str) -> dict[str, Any]:
    """The answer to `completion/complete`: what begins with what was typed, then what contains it."""
    argument = next((each for each in prompt.arguments if each.name == name), None)
    if argument is None:
        raise InvalidInput(f"prompt {prompt.name!r} has no argument {name[:64]!r}")
    typed = typed.casefold()
    fitting = [each for each in choices(argument) if typed in each.casefold()]
    fitting.sort(key=lambda each: not each.casefold().startswith(typed))
    shown = fitting[:MOST_COMPLETIONS]
    return {"completion": {"values": shown, "total": len(fitting), "hasMore": len(shown) < len(fitting)}}
