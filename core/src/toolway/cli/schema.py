"""The JSON Schema of the configuration file, with the settings of every enabled plugin, kind and auth type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, Field, create_model

from toolway.catalog.definitions import Definitions
from toolway.config.tables import Config, PluginTables
from toolway.hookspecs.definitions import ServerSettings


def configuration_schema(plugins: Mapping[str, type[BaseModel]], definitions: Definitions) -> dict[str, Any]:
    """JSON Schema (2020-12) for editors: `plugins` are the settings models by name."""
    upstream: Any = definitions.union(for_api=False)
    model = create_model(
        "Configuration",
        __base__=Config,
        __doc__="The configuration of a Toolway gateway.",
        plugins=_field("plugins", _plugins(plugins)),
        upstreams=_field("upstreams", tuple[upstream, ...]),
        servers=_field("servers", tuple[ServerSettings, ...]),
    )
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}


def _field(table: str, annotation: Any) -> Any:
    """The field of `Config` with a narrower type."""
    return annotation, Config.model_fields[table]


def _plugins(plugins: Mapping[str, type[BaseModel]]) -> type[BaseModel]:
    """`[plugins]` with a table per plugin; names are given as aliases, because they may hold a dash."""
    fields: dict[str, Any] = {
        f"table_{number}": (model, Field(default={}, alias=name, description=model.__doc__))
        for number, (name, model) in enumerate(plugins.items())
    }
    return create_model("Plugins", __base__=PluginTables, **fields)
