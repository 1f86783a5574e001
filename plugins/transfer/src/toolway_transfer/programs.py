"""Upstreams that are programs: only administrators import them, and only where the setting allows it."""

from __future__ import annotations

from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from toolway.hookspecs.api import ANY, Incoming
from toolway.plugin import Forbidden, InvalidInput, Kernel, refusal
from toolway_transfer.plugin import TransferSettings

KIND = "stdio"


def is_program(raw: dict[str, Any]) -> bool:
    """Whether it is one."""
    return raw.get("kind") == KIND


def read_program(
    kernel: Kernel, settings: TransferSettings, incoming: Incoming, schema: TypeAdapter[Any], raw: dict[str, Any]
) -> BaseModel:
    """The settings of a program, its environment sealed as the API seals credentials.

    Raises:
        InvalidInput: programs are not allowed, or something is wrong with it.
        Forbidden: somebody else than an administrator asks.
    """
    if not settings.allow_programs:
        raise InvalidInput(
            "it is a program, which whoever wrote the file chose; declare it in the configuration file, or set "
            "plugins.transfer.allow_programs"
        )
    if not incoming.may("admin:write", ANY):
        raise Forbidden("only an administrator may import programs", permission="admin:*")
    environment, auth = raw.get("env", {}), raw.get("auth")
    if not isinstance(environment, dict):
        raise InvalidInput("env should be a table")
    sealed = _sealed(schema, raw["name"], environment, auth)
    return kernel.definitions.settings({**raw, **sealed})


def _sealed(schema: TypeAdapter[Any], name: Any, environment: dict[str, Any], auth: Any) -> dict[str, Any]:
    """What the API would store of these secrets: it takes them as headers of an upstream, and no programs."""
    names = {f"x-{number}": each for number, each in enumerate(environment)}
    headers = {header: environment[each] for header, each in names.items()}
    probe = {"name": name, "kind": "http", "endpoints": ["https://program.invalid/"], "headers": headers, "auth": auth}
    try:
        stored = schema.validate_json(msgspec.json.encode(probe), strict=True)
    except ValidationError as error:
        raise refusal(error, schema) from None
    found = {"env": {names[header]: text for header, text in stored.headers.items()}}
    return found if auth is None else {**found, "auth": stored.auth.model_dump(mode="json", exclude_unset=True)}
