"""Turns what pydantic finds wrong into sentences with the full path of the setting, never with the refused value."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from toolway.errors import InvalidInput

_SHAPES = {"tuple_type": "a list", "list_type": "a list", "dict_type": "a table", "model_type": "a table"}
_PREFIX = re.compile(r"^(?:Value error|Assertion failed), ")
_SUBJECT = re.compile(r"^(?:Input |String |Value |value )?(?=should |must |is )")

Location = tuple[str | int, ...]


class Problem(NamedTuple):
    """One thing that is wrong: where (keys and indexes) and a sentence that begins with the written path."""

    location: Location
    sentence: str


def problems(error: ValidationError, model: Any, prefix: Location = ()) -> list[Problem]:
    """Everything that `error` found while reading `model`, a model or a union of them, which stands at `prefix`.

    Unknown keys get a "did you mean" from the keys that the model at that place has. What every member of a union
    refused is one problem.
    """
    merged: dict[Location, list[str]] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        if each["type"] != "default_factory_not_called":  # only follows from another problem
            location = tuple(part for part in each["loc"] if not _is_type_name(part))
            merged.setdefault(location, []).append(_complaint(each["type"], each["msg"], location, model))
    return [Problem(prefix + at, _written(prefix + at) + " or".join(found)) for at, found in merged.items()]


def refusal(error: ValidationError, model: Any, what: str = "") -> InvalidInput:
    """The error that names all problems of `what`; its details have each under `errors` with a JSON pointer."""
    found = problems(error, model)
    errors = [{"pointer": _pointer(each.location), "detail": each.sentence} for each in found[:50]]
    return InvalidInput(what + "; ".join(each.sentence for each in found[:5]), errors=errors)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """`did you mean 'x'?` for the most alike of `known`, or nothing when none is alike."""
    closest = get_close_matches(given, list(known), n=1)
    return f"did you mean {closest[0]!r}?" if closest else ""


def _is_type_name(part: str | int) -> bool:
    """Pydantic puts the members of unions into locations, such as `function-plain[ip_v4_network_validator()]`."""
    return isinstance(part, str) and part.endswith("]") and "[" in part


def _complaint(kind: str, message: str, location: Location, model: Any) -> str:
    if kind == "extra_forbidden":
        return f" is not a setting; {_next_step(str(location[-1]), _keys_at(model, location[:-1]))}"
    if kind == "missing":
        return " is missing; add it"
    if kind in _SHAPES:
        return f" should be {_SHAPES[kind]}"
    message = _PREFIX.sub("", message)
    return f" {_SUBJECT.sub('', message)}" if _SUBJECT.match(message) else f": {message}"


def _next_step(given: str, known: set[str]) -> str:
    if closest := did_you_mean(given, known):
        return closest
    return f"known here: {', '.join(sorted(known))}" if known else "remove it, there are no settings here"


def _keys_at(model: Any, location: Location) -> set[str]:
    """Keys of every model that stands there; indexes, keys of tables and chosen members of unions lead no deeper."""
    models = list(_models_in(model))
    for part in location:
        fields = [each.model_fields[str(part)] for each in models if part in each.model_fields]
        models = [inner for field in fields for inner in _models_in(field.annotation)] or models
    return {key for each in models for key in each.model_fields}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _written(location: Sequence[str | int]) -> str:
    """The path as people write it: `upstreams[0].auth.token`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "the whole"


def _pointer(location: Location) -> str:
    """RFC 6901."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
