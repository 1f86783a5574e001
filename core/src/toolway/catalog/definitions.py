"""Reads declared upstreams and servers against the kinds and auth types that are enabled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError, WrapValidator, create_model

from toolway.errors import InvalidInput
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import Upstream, UpstreamKind
from toolway.hookspecs.secrets import UpstreamAuth
from toolway.validation import Problem, did_you_mean, problems, refusal

DEFAULT_KIND = "http"
M = TypeVar("M", bound=BaseModel)


class Definitions:
    """Turns tables of the file and bodies of the API into settings and upstreams.

    All methods raise InvalidInput: one sentence per thing that is wrong, with the path in the object and never the
    refused value; its details hold them as `errors` with JSON pointers.
    """

    def __init__(self, kinds: Mapping[str, UpstreamKind], auths: Mapping[str, UpstreamAuth]) -> None:
        self._kinds = kinds
        self._auths = {name: auth_model(name, auth.settings) for name, auth in auths.items()}

    def resolve(self, settings: UpstreamSettings) -> Upstream:
        """Make an upstream of settings, which are read again when they were not made by `settings`."""
        kind = self._kind(settings.kind, f"upstream {settings.name!r}")
        if not isinstance(settings, kind.settings) or isinstance(settings.auth, Mapping):
            settings = self.settings(settings.model_dump(exclude_unset=True))
        return Upstream(settings.name, kind.kind, settings, kind.endpoints(settings), settings.auth)

    def settings(self, raw: Mapping[str, Any], *, from_api: bool = False) -> UpstreamSettings:
        """The settings of an upstream as its kind's model, `auth` as its type's model; the default kind is `http`.

        `from_api` makes types strict and refuses kinds that can start programs.
        """
        what = _what("upstream", raw)
        kind = self._kind(raw.get("kind", DEFAULT_KIND), what)
        if from_api and kind.file_only:
            raise InvalidInput(
                f"{what}: upstreams of kind {kind.kind!r} can start programs; declare it in the configuration file"
            )
        values = {**raw, "kind": kind.kind, "auth": None}
        read, wrong = _read(kind.settings, values, strict=from_api)
        auth, wrong_auth = self._read_auth(raw.get("auth"), from_api)
        if read is None or wrong_auth:
            raise refusal([*wrong, *wrong_auth], f"{what}: ")
        return read.model_copy(update={"auth": auth})

    def server(self, raw: Mapping[str, Any]) -> ServerSettings:
        """The settings of a virtual server."""
        read, wrong = _read(ServerSettings, raw)
        if read is None:
            raise refusal(wrong, f"{_what('server', raw)}: ")
        return read

    def schema(self) -> TypeAdapter[UpstreamSettings]:
        """Validates bodies of the API as `settings` does; its JSON Schema has every kind and auth type."""
        models = {name: kind.settings for name, kind in self._kinds.items() if not kind.file_only}

        def read(value: Any, _: Callable[[Any], Any]) -> UpstreamSettings:
            return self.settings(value, from_api=True)

        adapted: Any = Annotated[upstream_union(models, self._auths), WrapValidator(read)]
        return TypeAdapter(adapted)

    def _kind(self, name: Any, what: str) -> UpstreamKind:
        if isinstance(name, str) and (kind := self._kinds.get(name)):
            return kind
        raise InvalidInput(f"{what}: kind {_unknown(name, self._kinds)}")

    def _read_auth(self, raw: Any, strict: bool) -> tuple[BaseModel | None, list[Problem]]:
        if raw is None or isinstance(raw, BaseModel):
            return raw, []
        if not isinstance(raw, Mapping) or "type" not in raw:
            known = ", ".join(sorted(self._auths))
            return None, [Problem(("auth",), f'auth must be a table with a "type", one of: {known}')]
        model = self._auths.get(raw["type"]) if isinstance(raw["type"], str) else None
        if model is None:
            return None, [Problem(("auth", "type"), f"auth.type {_unknown(raw['type'], self._auths)}")]
        return _read(model, raw, ("auth",), strict=strict)


def auth_model(name: str, settings: type[BaseModel]) -> type[BaseModel]:
    """The settings of one auth type with their `type` member."""
    return _tagged("Auth", "type", name, settings, ...)


def upstream_union(kinds: Mapping[str, type[UpstreamSettings]], auths: Mapping[str, type[BaseModel]]) -> Any:
    """The type of a declared upstream: one model per kind, each with every auth; `auths` are made by `auth_model`."""
    auth = reduce(or_, auths.values(), None)
    models = [
        _tagged("Upstream", "kind", name, model, DEFAULT_KIND if name == DEFAULT_KIND else ..., auth=(auth, None))
        for name, model in kinds.items()
    ]
    return reduce(or_, models) if models else UpstreamSettings


def _tagged(what: str, tag: str, value: str, model: type[BaseModel], default: Any, **fields: Any) -> type[BaseModel]:
    title = "".join(part.capitalize() for part in value.split("-")) + what
    literal: Any = Literal.__getitem__(value)
    members: dict[str, Any] = {tag: (literal, default), **fields}
    return create_model(title, __base__=model, **members)


def _read(
    model: type[M], raw: Mapping[str, Any], prefix: tuple[str, ...] = (), *, strict: bool = False
) -> tuple[M | None, list[Problem]]:
    try:
        if strict:  # as JSON, because strict Python values would refuse lists where the model has tuples
            return model.model_validate_json(msgspec.json.encode(raw), strict=True), []
        return model.model_validate(dict(raw)), []
    except ValidationError as error:
        return None, problems(error, model, prefix)


def _what(noun: str, raw: Mapping[str, Any]) -> str:
    name = raw.get("name")
    return f"{noun} {name!r}" if isinstance(name, str) else f"{noun} without a name"


def _unknown(name: Any, known: Mapping[str, Any]) -> str:
    guess = did_you_mean(str(name), known) or f"known: {', '.join(sorted(known)) or 'none'}"
    return f"{name!r} is not known; {guess} (a plugin that adds more must be in plugins.enable)"
