"""The settings, in seconds."""

from __future__ import annotations

from pydantic import Field, PositiveFloat

from toolway.plugin import Settings


class ReloadSettings(Settings):
    """`[plugins.reload]`."""

    watch: bool = Field(
        True, description="Reload when the configuration file, or one in the directory beside it, changes."
    )
    watch_interval: PositiveFloat = Field(2.0, description="Between two looks at the files; a change must be as old.")
    patience: PositiveFloat = Field(60.0, description="For all nodes to build their gateway; then the reload is off.")
