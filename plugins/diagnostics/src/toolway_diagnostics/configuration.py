"""The configuration in force: where each value comes from, with nothing secret in it."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

MASKED = "[redacted]"
DEFAULT = "default"
REFERENCE = re.compile(r"[a-z][a-z0-9+-]*:.+", re.DOTALL)
LITERAL = "literal:"
USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
QUERY = re.compile(r"(?<=[?&])([^=&#\s]+)=[^&#\s]*")
SECRET = re.compile(
    r"passw|secret|token|api[_-]?key|credential|passphrase|private[_-]?key|^auth$|(^|[_-])key$|^env$|headers",
    re.IGNORECASE,
)
"""Keys below which a text is a reference or is not told."""
OPTION = re.compile(r"^(-[\w-]*(?:passw|secret|token|key|credential)[\w-]*)=.*", re.IGNORECASE | re.DOTALL)
NO_SECRET = re.compile(r"type|url|endpoint|_timeout|lifetime|username|scopes?|name", re.IGNORECASE)

Leaf = tuple[str, ...]


def tables(config: BaseModel) -> dict[str, Any]:
    """All of it as JSON, secrets as they are declared."""
    return config.model_dump(mode="json")


def told(config: BaseModel, files: Sequence[Path], environ: Mapping[str, str] = os.environ) -> list[dict[str, Any]]:
    """Every value by its path, masked, with its origin: a file, a variable, or `DEFAULT`; defaults come last."""
    origins, before = _origins(files, environ, tuple(type(config).model_fields)), ""
    rows = []
    for leaf, value in _leaves(tables(config)):
        is_of_option = before.startswith("-") and SECRET.search(before) and leaf[-1].isdigit()
        shown = MASKED if is_of_option else masked(value, leaf)
        rows.append({"path": ".".join(leaf), "value": shown, "origin": _origin(leaf, origins)})
        before = value if isinstance(value, str) else ""
    return sorted(rows, key=lambda row: row["origin"] == DEFAULT)


def masked(value: Any, leaf: Leaf) -> Any:
    """What may be told of a value."""
    if not isinstance(value, str):
        return value
    if value.startswith(LITERAL):
        return LITERAL + MASKED
    is_secret = any(SECRET.search(key) for key in leaf) and not NO_SECRET.search(leaf[-1])
    if is_secret and not _is_reference(value):
        return MASKED
    return OPTION.sub(rf"\1={MASKED}", QUERY.sub(rf"\1={MASKED}", USERINFO.sub(f"{MASKED}@", value)))


def _is_reference(value: str) -> bool:
    """A path of a file too."""
    return bool(REFERENCE.fullmatch(value) and "://" not in value) or value.startswith(("/", "./"))


def literals(config: Mapping[str, Any]) -> Iterator[str]:
    """Where a secret stands in the configuration itself."""
    return (".".join(leaf) for leaf, value in _leaves(config) if isinstance(value, str) and value.startswith(LITERAL))


def references(config: Mapping[str, Any], scheme: str) -> Iterator[str]:
    """What secret references of a scheme name."""
    for _, value in _leaves(config):
        if isinstance(value, str) and value.startswith(scheme):
            yield value.removeprefix(scheme)


def others_may_write(file: Path) -> bool:
    """Whether everybody may change it."""
    return bool(file.stat().st_mode & 0o002)


def _leaves(value: Any, leaf: Leaf = ()) -> Iterator[tuple[Leaf, Any]]:
    """Every value that is no table; upstreams and servers are called by their names."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*leaf, str(key)))
    elif isinstance(value, list) and any(isinstance(each, dict) for each in value):
        for number, inner in enumerate(value):
            name = inner.get("name", number) if isinstance(inner, dict) else number
            yield from _leaves(inner, (*leaf, str(name)))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield (*leaf, str(number)), inner
        if not value:
            yield leaf, value
    else:
        yield leaf, value


def _origins(files: Sequence[Path], environ: Mapping[str, str], top: Sequence[str]) -> dict[Leaf, str]:
    """What sets values, the last one counts."""
    found: dict[Leaf, str] = {}
    for file in files:
        found |= {leaf: file.name for leaf, _ in _leaves(_read(file))}
    directory = environ.get("TOOLWAY_SECRETS_DIR")
    mounted = [file.name for file in Path(directory).iterdir()] if directory and Path(directory).is_dir() else []
    for place, names in (("TOOLWAY_SECRETS_DIR", mounted), ("environment", environ)):
        found |= {leaf: f"{place}: {name}" for name in names if (leaf := _leaf_of(name, top))}
    return found


def _read(file: Path) -> Any:
    """As it is now; what cannot be read says nothing."""
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _leaf_of(variable: str, top: Sequence[str]) -> Leaf:
    """What a variable sets, by the rules of the configuration's reference."""
    prefix, _, rest = variable.upper().partition("_")
    keys = rest.lower().split("__")
    if prefix != "TOOLWAY" or keys[0] not in top:
        return ()
    if keys[0] == "plugins" and len(keys) > 2:
        keys[1] = keys[1].replace("_", "-")
    return tuple(keys)


def _origin(leaf: Leaf, origins: Mapping[Leaf, str]) -> str:
    """Of a value, or of the table or list that it is part of; variables come last and win."""
    known = [origins[leaf[:length]] for length in range(1, len(leaf) + 1) if leaf[:length] in origins]
    variables = [each for each in known if ": " in each]
    return (variables or known or [DEFAULT])[-1]
