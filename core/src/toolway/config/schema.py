"""The JSON Schema of the configuration file, with the settings of every enabled plugin, kind and auth type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, create_model

from toolway.catalog.definitions import auth_model, upstream_union
from toolway.config.tables import Config, EgressSettings, GatewaySettings, PluginTables
from toolway.hookspecs.definitions import ServerSettings, UpstreamSettings


def configuration_schema(
    plugins: Mapping[str, type[BaseModel]],
    kinds: Mapping[str, type[UpstreamSettings]],
    auths: Mapping[str, type[BaseModel]],
) -> dict[str, Any]:
    """JSON Schema (2020-12) for editors: `plugins`, `kinds` and `auths` map names to settings models."""
    upstream: Any = upstream_union(kinds, {name: auth_model(name, model) for name, model in auths.items()})
    tables: dict[str, Any] = {
        "gateway": (GatewaySettings, _field("gateway", {})),
        "plugins": (_plugins(plugins), _field("plugins", {})),
        "egress": (EgressSettings, _field("egress", {})),
        "upstreams": (tuple[upstream, ...], _field("upstreams", ())),
        "servers": (tuple[ServerSettings, ...], _field("servers", ())),
    }
    model = create_model("Configuration", __config__={"extra": "forbid"}, **tables)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(),
        "description": "The configuration of a Toolway gateway.",
    }


def _field(table: str, default: Any) -> Any:
    return Field(default=default, description=Config.model_fields[table].description)


def _plugins(plugins: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """`[plugins]` with a table per plugin; names are given as aliases, because they may hold a dash."""
    fields: dict[str, Any] = {
        f"table_{number}": (model, Field(default={}, alias=name, description=model.__doc__))
        for number, (name, model) in enumerate(plugins.items())
    }
    return create_model("Plugins", __base__=PluginTables, **fields)
