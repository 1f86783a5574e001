"""Turns what pydantic finds wrong into sentences with the full path of the setting, never with the refused value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from toolway.errors import InvalidInput

_SHOULD = re.compile(r"^(?:Value error, |Assertion failed, )?(?:Input |String |Value |value )?(?=should |must |is )")
_SHAPES = {"tuple_type": "a list", "list_type": "a list", "dict_type": "a table", "model_type": "a table"}
_PREFIX = re.compile(r"^(?:Value error|Assertion failed), ")

Location = tuple[str | int, ...]


class Problem(NamedTuple):
    """One thing that is wrong: where (keys and indexes) and a sentence that begins with the written path."""

    location: Location
    sentence: str


def problems(error: ValidationError, model: type[BaseModel], prefix: Location = ()) -> list[Problem]:
    """Everything that `error` found while reading `model`; `prefix` is where that model stands.

    Unknown keys get a "did you mean" from the keys that the model at that place has. What every member of a union
    refused is one problem.
    """
    merged: dict[Location, list[str]] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        if each["type"] != "default_factory_not_called":  # only follows from another problem
            location = tuple(part for part in each["loc"] if not _is_type_name(part))
            merged.setdefault(location, []).append(_complaint(each["type"], each["msg"], location, model))
    return [Problem(prefix + at, written(prefix + at) + " or".join(found)) for at, found in merged.items()]


def refusal(found: Sequence[Problem], what: str = "") -> InvalidInput:
    """The error that names all problems of `what`; its details have each under `errors` with a JSON pointer."""
    errors = [{"pointer": _pointer(each.location), "detail": each.sentence} for each in found[:50]]
    return InvalidInput(what + "; ".join(each.sentence for each in found[:5]), errors=errors)


def _pointer(location: Location) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


def _is_type_name(part: str | int) -> bool:
    """Pydantic puts the members of unions into locations, such as `function-plain[ip_v4_network_validator()]`."""
    return isinstance(part, str) and part.endswith("]") and "[" in part


def _complaint(kind: str, message: str, location: Location, model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        known = set(_keys_at(model, location[:-1]))
        return f" is not a setting; {_next_step(str(location[-1]), known)}"
    if kind == "missing":
        return " is missing; add it"
    if kind in _SHAPES:
        return f" should be {_SHAPES[kind]}"
    sentence = _SHOULD.sub("", message)
    return f" {sentence}" if sentence != message else f": {_PREFIX.sub('', message)}"


def _next_step(given: str, known: set[str]) -> str:
    if closest := did_you_mean(given, known):
        return closest
    return f"known here: {', '.join(sorted(known))}" if known else "remove it, there are no settings here"


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the most alike of `known`, or nothing when none is alike."""
    closest = get_close_matches(given, list(known), n=1)
    return f"did you mean {closest[0]!r}?" if closest else ""


def written(location: Sequence[str | int]) -> str:
    """The path as people write it: `upstreams[0].auth.token`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "the configuration"


def _keys_at(annotation: Any, location: Location) -> Iterator[str]:
    """Keys of every model that `location` can lead to from `annotation`."""
    if _is_model(annotation):
        if not location:
            yield from annotation.model_fields
        elif field := annotation.model_fields.get(str(location[0])):
            yield from _keys_at(field.annotation, location[1:])
    elif get_origin(annotation) in (Union, UnionType, Annotated):
        for member in get_args(annotation):
            yield from _keys_at(member, location)
        if location:  # pydantic puts the chosen member of a union into the location
            yield from (key for member in get_args(annotation) for key in _keys_at(member, location[1:]))
    elif location:
        for inner in get_args(annotation):
            yield from _keys_at(inner, location[1:])


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
