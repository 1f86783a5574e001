"""Reads the configuration: the environment over the secrets directory over the TOML file over the defaults."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toolway.config.tables import Config
from toolway.errors import ConfigError
from toolway.validation import Location, Problem, problems

DEFAULT_FILE = Path("toolway.toml")
Origins = dict[Location, str]


def load_config(path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The checked configuration.

    Args:
        path: The file; default: `TOOLWAY_CONFIG`, else `toolway.toml` in the working directory if there is one. What
            is in `toolway.d/*.toml` beside it is read after it.
        environ: Values as `TOOLWAY_GATEWAY__BIND`, in a plugin's name `_` stands for `-`; lists and tables as JSON.
            `TOOLWAY_SECRETS_DIR` names a directory with one file per such variable.

    Raises:
        ConfigError: one sentence (line) per thing that is wrong, with the file or variable it is in.
    """
    files, values = config_files(path, environ), dict[str, Any]()
    source = files[0].name if files else "the configuration"
    for file in files:
        _merge(values, _read_file(file))
    origins: Origins = {}
    for layer in (_mounted(environ.get("TOOLWAY_SECRETS_DIR")), environ):
        for name in sorted(layer):
            if keys := _keys_of(name):
                _place(values, keys, _value(layer[name]), name)
                origins[keys] = name
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        found = problems(error, Config)
        raise ConfigError("\n".join(_line(each, _origin(each.location, origins), source) for each in found)) from None
    config._source = source
    return config


def config_files(path: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """What `load_config` reads: the file and, after it, `toolway.d/*.toml` beside a `toolway.toml`, by name."""
    chosen = path or environ.get("TOOLWAY_CONFIG")
    file = Path(chosen or DEFAULT_FILE)
    return (file, *sorted(file.with_suffix(".d").glob("*.toml"))) if chosen or file.exists() else ()


def _merge(values: dict[str, Any], others: Mapping[str, Any]) -> None:
    """Tables are merged, lists of tables go on; of anything else the last one counts."""
    for key, value in others.items():
        known = values.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif isinstance(known, list) and isinstance(value, list) and any(isinstance(each, dict) for each in value):
            known += value
        else:
            values[key] = value


def _read_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            return tomllib.load(opened)
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}; name a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is not TOML: {error}; correct it there") from None


def _mounted(directory: str | None) -> dict[str, str]:
    """The files of a directory with mounted secrets that are named like variables."""
    if not directory:
        return {}
    try:
        files = [file for file in Path(directory).iterdir() if file.is_file() and _keys_of(file.name)]
        return {file.name: file.read_text("utf-8").rstrip("\r\n") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a file in it is not UTF-8"
        raise ConfigError(
            f"TOOLWAY_SECRETS_DIR {directory} cannot be read: {reason}; name a readable directory"
        ) from None


def _keys_of(name: str) -> tuple[str, ...]:
    """Keys that a variable means; empty for others, such as `TOOLWAY_DATABASE`, which only references mention."""
    prefix, _, rest = name.upper().partition("_")
    keys = rest.lower().split("__")
    if prefix != "TOOLWAY" or (len(keys) == 1 and keys[0] not in Config.model_fields):
        return ()
    if keys[0] == "plugins" and len(keys) > 2:
        keys[1] = keys[1].replace("_", "-")
    return tuple(keys)


def _value(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip().startswith(("[", "{")) else text
    except ValueError:
        return text  # an address such as [::1]:4440, or no JSON: then the type of the setting refuses it


def _place(table: dict[str, Any], keys: tuple[str, ...], value: Any, variable: str) -> None:
    """Set what the variable means; what it sets wins over what is there."""
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{variable} contradicts a variable that sets {key!r} as a whole; set only one of them")
    table[keys[-1]] = value


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
