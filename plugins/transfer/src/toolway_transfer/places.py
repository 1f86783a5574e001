"""Where the state of a gateway is, as its configuration says; commands of plugins do not read all of that."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from toolway.plugin import InvalidInput

FROM_QUERY = {
    "host": "PGHOST",
    "port": "PGPORT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
}

VARIABLE = "TOOLWAY_GATEWAY__DATABASE"
"""Of the environment: has another reference than the configuration."""

OWN_SCHEMES = ("env", "file", "literal")
"""Of references that need no gateway."""


class Place(msgspec.Struct, frozen=True):
    """The data directory, and the URL of the database; empty is the SQLite file in the directory.

    `has_own_key` if the root key is in the directory too.
    """

    data_dir: Path
    database: str = ""
    has_own_key: bool = True

    @property
    def sqlite(self) -> Path | None:
        """The SQLite file, unless the database is PostgreSQL."""
        if not self.database:
            return self.data_dir / "toolway.db"
        head, _, path = self.database.partition(":///")
        return Path(path.partition("?")[0]) if head.startswith("sqlite") else None

    def postgres(self) -> dict[str, str]:
        """The environment of PostgreSQL's programs: nothing secret stands in their arguments."""
        url = urlsplit(self.database)
        given = {
            "PGHOST": url.hostname,
            "PGPORT": str(url.port) if url.port else None,
            "PGUSER": unquote(url.username) if url.username else None,
            "PGPASSWORD": unquote(url.password) if url.password else None,
            "PGDATABASE": unquote(url.path.lstrip("/")),
        }
        more = {FROM_QUERY[key]: value for key, value in parse_qsl(url.query) if key in FROM_QUERY}
        return {**os.environ, **{key: value for key, value in given.items() if value}, **more}


def place_of(
    config: Path | None,
    environ: Mapping[str, str] = os.environ,
    resolve: Callable[[str], str] | None = None,
) -> Place:
    """What the file, its drop-ins and the environment say; raises InvalidInput.

    `resolve` gives the value of references whose scheme a plugin has to resolve.
    """
    gateway = _gateway(config or Path(environ.get("TOOLWAY_CONFIG", "toolway.toml")), is_needed=config is not None)
    for name in ("data_dir", "database", "root_key"):
        if value := environ.get(f"TOOLWAY_GATEWAY__{name.upper()}"):
            gateway[name] = value
    reference = str(gateway.get("database") or "")
    if resolve is None or reference.partition(":")[0] in (*OWN_SCHEMES, ""):
        database = _resolved(reference, environ) if reference else ""
    else:
        database = resolve(reference)
    return Place(Path(gateway.get("data_dir", "toolway-data")), database, "root_key" not in gateway)


def _gateway(file: Path, *, is_needed: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if not file.exists() and not is_needed:
        return found
    for each in (file, *sorted(file.with_suffix(".d").glob("*.toml"))):
        try:
            found |= tomllib.loads(each.read_text(encoding="utf-8")).get("gateway", {})
        except (OSError, ValueError, TypeError) as error:
            raise InvalidInput(f"{each} cannot be read ({type(error).__name__}); name the configuration file") from None
    return found


def _resolved(reference: str, environ: Mapping[str, str]) -> str:
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest in environ:
        return environ[rest]
    if scheme == "file" and Path(rest).is_file():
        return Path(rest).read_text(encoding="utf-8").rstrip("\r\n")
    if scheme == "literal":
        return rest
    raise InvalidInput(
        f"gateway.database is a reference of the scheme {scheme!r} that gives nothing here; set "
        f"{VARIABLE} to one of env: or file: that does"
    )
