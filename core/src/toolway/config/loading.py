"""Reads the configuration: the environment over the secrets directory over the TOML file over the defaults."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import InitSettingsSource

from toolway.config.tables import Config
from toolway.errors import ConfigError
from toolway.validation import Location, Problem, problems

PREFIX = "TOOLWAY_"
DEFAULT_FILE = Path("toolway.toml")
Origins = dict[Location, str]


def load_config(path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The checked configuration.

    Args:
        path: The file; default: `TOOLWAY_CONFIG`, else `toolway.toml` in the working directory if there is one.
        environ: Values as `TOOLWAY_GATEWAY__BIND`, in a plugin's name `_` stands for `-`; lists and tables as JSON.
            `TOOLWAY_SECRETS_DIR` names a directory with one file per such variable.

    Raises:
        ConfigError: one sentence (line) per thing that is wrong, with the file or variable it is in.
    """
    file = _file(path, environ)
    origins: Origins = {}
    written = _read_file(file) if file else {}
    mounted = _nested(_mounted(environ.get("TOOLWAY_SECRETS_DIR")), origins)
    exported = _nested(environ.items(), origins)
    layers = tuple(InitSettingsSource(Config, init_kwargs=layer) for layer in (exported, mounted, written))
    source = file.name if file else "the configuration"
    try:
        config = Config(_build_sources=(layers, {}))
    except ValidationError as error:
        raise _refusal(error, origins, source) from None
    config._source = source
    return config


def _file(path: Path | str | None, environ: Mapping[str, str]) -> Path | None:
    if chosen := path or environ.get("TOOLWAY_CONFIG"):
        return Path(chosen)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}; name a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}; correct it there") from None


def _mounted(directory: str | None) -> list[tuple[str, str]]:
    if not directory:
        return []
    try:
        files = [file for file in sorted(Path(directory).iterdir()) if file.is_file() and _path_of(file.name)]
        return [(file.name, file.read_text("utf-8").rstrip("\r\n")) for file in files]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a file in it is not UTF-8"
        raise ConfigError(
            f"TOOLWAY_SECRETS_DIR {directory} cannot be read: {reason}; name a readable directory"
        ) from None


def _nested(variables: Iterable[tuple[str, str]], origins: Origins) -> dict[str, Any]:
    """The variables as nested tables; `origins` learns where each value came from."""
    nested: dict[str, Any] = {}
    for name, text in sorted(variables):
        if path := _path_of(name):
            _place(nested, path, _value(text), name)
            origins[path] = name
    return nested


def _path_of(name: str) -> tuple[str, ...]:
    """Keys that a variable means; empty for others, such as `TOOLWAY_DATABASE`, which only references mention."""
    if not name.upper().startswith(PREFIX):
        return ()
    keys = name[len(PREFIX) :].lower().split("__")
    if len(keys) == 1 and keys[0] not in Config.model_fields:
        return ()
    if keys[0] == "plugins" and len(keys) > 2:
        keys[1] = keys[1].replace("_", "-")
    return tuple(keys)


def _value(text: str) -> Any:
    if text.lstrip().startswith(("[", "{")):
        try:
            return json.loads(text)
        except ValueError:
            return text  # an address such as [::1]:4440, or no JSON: then the type of the setting refuses it
    return text


def _place(nested: dict[str, Any], path: tuple[str, ...], value: Any, name: str) -> None:
    for key in path[:-1]:
        nested = nested.setdefault(key, {})
        if not isinstance(nested, dict):
            raise ConfigError(f"{name} contradicts a variable that sets {key!r} as a whole; set only one of them")
    nested[path[-1]] = value


def _refusal(error: ValidationError, origins: Origins, source: str) -> ConfigError:
    found = problems(error, Config)
    return ConfigError("\n".join(_line(each, _origin(each.location, origins), source) for each in found))


def _line(problem: Problem, variable: str | None, source: str) -> str:
    if variable is None:
        return f"{source}: {problem.sentence}"
    hint = " (as JSON)" if problem.sentence.endswith((" a list", " a table")) else ""
    return f"{variable}: {problem.sentence}{hint}"


def _origin(location: Location, origins: Origins) -> str | None:
    """The variable that set this value, or that makes up part of it."""
    for path, name in origins.items():
        if location[: len(path)] == path or path[: len(location)] == location:
            return name
    return None
