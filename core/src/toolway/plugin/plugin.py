"""The class that every plugin subclasses, and the base of its settings."""

from __future__ import annotations

from typing import Generic, TypeVar, get_args

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings of a plugin: the table `[plugins.<name>]`; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Settings)


class Plugin(Generic[S]):
    """A plugin: methods marked with `@hookimpl` register providers.

    Subclass as `class VaultPlugin(Plugin[VaultSettings])`; there is one instance per gateway, with checked settings.
    """

    settings_class: type[Settings] = Settings

    def __init__(self, settings: S) -> None:
        self.settings = settings

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for parent in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(parent):
                if isinstance(argument, type) and issubclass(argument, Settings):
                    cls.settings_class = argument
