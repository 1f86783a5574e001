"""Reads declared upstreams and servers against the kinds and auth types that are enabled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial, reduce
from operator import or_
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError, WrapValidator, create_model

from toolway.errors import InvalidInput
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings
from toolway.hookspecs.routing import Upstream, UpstreamKind
from toolway.hookspecs.secrets import UpstreamAuth
from toolway.validation import did_you_mean, refusal

DEFAULT_KIND = "http"

Accept = Callable[[str, str], str]
"""Makes the reference that is stored of an upstream's name and what the API got as its secret, or raises ValueError."""

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Definitions:
    """Turns tables of the file and bodies of the API into settings and upstreams.

    All methods raise InvalidInput: one sentence per thing that is wrong, with the path in the object and never the
    refused value; its details hold them as `errors` with JSON pointers.
    """

    def __init__(self, kinds: Mapping[str, UpstreamKind], auths: Mapping[str, UpstreamAuth]) -> None:
        self.kinds = kinds
        self._auths = {name: _tagged("Auth", "type", name, each.settings, ...) for name, each in auths.items()}
        self._models: dict[tuple[str, str | None], type[UpstreamSettings]] = {}

    def resolve(self, settings: UpstreamSettings) -> Upstream:
        """Make an upstream of settings, which are read again when they were not made by `settings`."""
        kind = _chosen(settings.kind, self.kinds, f"upstream {settings.name!r}: kind")
        if not isinstance(settings, kind.settings) or isinstance(settings.auth, Mapping):
            settings = self.settings(settings.model_dump(exclude_unset=True))
        return Upstream(settings.name, kind.kind, settings, kind.endpoints(settings), settings.auth)

    def settings(self, raw: Mapping[str, Any], accept: Accept | None = None) -> UpstreamSettings:
        """The settings of an upstream as its kind's model, `auth` as its type's model; the default kind is `http`.

        With `accept` they come from the API: types are strict, and kinds that can start programs are refused.
        """
        what = _what("upstream", raw)
        raw = {"kind": DEFAULT_KIND, **raw}
        kind = _chosen(raw["kind"], self.kinds, f"{what}: kind")
        if accept and kind.file_only:
            raise InvalidInput(
                f"{what}: upstreams of kind {kind.kind!r} can start programs; declare it in the configuration file"
            )
        model = self._model(kind.kind, raw.get("auth"), what)
        settings = _read(model, raw, what, partial(accept, str(raw.get("name"))) if accept else None)
        if accept:
            kind.endpoints(settings)  # refused now, not left out later
        return settings

    def server(self, raw: Mapping[str, Any]) -> ServerSettings:
        """The settings of a virtual server."""
        return _read(ServerSettings, raw, _what("server", raw))

    def schema(self, accept: Accept) -> TypeAdapter[UpstreamSettings]:
        """Validates bodies of the API as `settings` does; its JSON Schema has every kind and auth type."""

        def read(value: Any, _: Callable[[Any], Any]) -> UpstreamSettings:
            return self.settings(value, accept)

        # `typing` would remember it, and with it this gateway, unless part of it cannot be hashed: the list
        adapted: Any = Annotated[self.union(for_api=True), WrapValidator(read), []]
        return TypeAdapter(adapted)

    def union(self, *, for_api: bool) -> Any:
        """What an upstream may be, for JSON Schemas: a model for each kind, `auth` of any type."""
        auth = reduce(or_, self._auths.values(), None)
        kinds = [name for name, kind in self.kinds.items() if not (for_api and kind.file_only)]
        return reduce(or_, [self._tagged_kind(name, auth) for name in kinds]) if kinds else UpstreamSettings

    def _model(self, kind: str, auth: Any, what: str) -> type[UpstreamSettings]:
        """The settings of that kind with that type of auth."""
        if auth is not None and (not isinstance(auth, Mapping) or "type" not in auth):
            known = ", ".join(sorted(self._auths))
            raise InvalidInput(f'{what}: auth must be a table with a "type", one of: {known}')
        chosen = _chosen(auth["type"], self._auths, f"{what}: auth.type") if auth else None
        key = kind, auth["type"] if auth else None
        if key not in self._models:
            self._models[key] = self._tagged_kind(kind, chosen)
        return self._models[key]

    def _tagged_kind(self, name: str, auth: Any) -> type[UpstreamSettings]:
        default = DEFAULT_KIND if name == DEFAULT_KIND else ...
        return _tagged("Upstream", "kind", name, self.kinds[name].settings, default, auth=(auth, None))


@lru_cache(maxsize=1024)
def _tagged(what: str, tag: str, value: str, model: type[M], default: Any, **fields: Any) -> type[M]:
    """The model with the member that chooses it, and a name of its own; the same for equals, also after a reload."""
    title = "".join(part.capitalize() for part in value.split("-")) + what
    members: dict[str, Any] = {tag: (Literal.__getitem__(value), default), **fields}
    return create_model(title, __base__=model, **members)


def _read(model: type[M], raw: Mapping[str, Any], what: str, accept: Callable[[str], str] | None = None) -> M:
    try:
        if accept:  # as JSON, because strict Python values would refuse lists where the model has tuples
            return model.model_validate_json(msgspec.json.encode(raw), strict=True, context=accept)
        return model.model_validate(dict(raw))
    except ValidationError as error:
        raise refusal(error, model, f"{what}: ") from None


def _what(noun: str, raw: Mapping[str, Any]) -> str:
    name = raw.get("name")
    return f"{noun} {name!r}" if isinstance(name, str) else f"{noun} without a name"


def _chosen(name: Any, known: Mapping[str, T], what: str) -> T:
    if isinstance(name, str) and name in known:
        return known[name]
    guess = did_you_mean(str(name), known) or f"known: {', '.join(sorted(known)) or 'none'}"
    raise InvalidInput(f"{what} {name!r} is not known; {guess} (a plugin that adds more must be in plugins.enable)")
