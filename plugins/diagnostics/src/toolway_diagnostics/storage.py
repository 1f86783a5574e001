"""Checks of what lies on a disk: database, keys, certificates."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from sqlalchemy import text

from toolway.plugin import Kernel
from toolway_diagnostics.configuration import references, tables
from toolway_diagnostics.database import file_of
from toolway_diagnostics.finding import Finding, above, error, good, warning
from toolway_diagnostics.process import MIB

LITTLE, VERY_LITTLE = 1024 * MIB, 100 * MIB
"""Room that is left."""
LARGE = 256 * MIB
"""Larger files of SQLite take too long to be read as a whole."""
SOON_DAYS, NOW_DAYS = 30, 7
CLOCK = "select extract(epoch from clock_timestamp())"


async def database(kernel: Kernel) -> Sequence[Finding]:
    """Whether it answers, is whole and has room; and what time it has."""
    store, begun = kernel.database, kernel.clock.monotonic()
    file, declared = file_of(store), _declared(kernel)
    if declared is not None and file != declared:
        return [good("database", f"the next start makes or migrates {declared}"), *_room(kernel, declared)]
    is_large = file is not None and await asyncio.to_thread(lambda: file.exists() and file.stat().st_size > LARGE)
    statement = ("select 1" if is_large else "pragma quick_check(1)") if store.is_sqlite else CLOCK
    async with store.read() as tx:
        connection = await tx.session.connection()
        await connection.execute(text("select 1"))
        seconds, now = kernel.clock.monotonic() - begun, kernel.clock.now()
        answer = (await connection.execute(text(statement))).scalar()
    return [*_whole(store.is_sqlite, answer, seconds), *_clock(store.is_sqlite, answer, now), *_room(kernel, file)]


def _declared(kernel: Kernel) -> Path | None:
    """Where the file is, or is going to be, of a configuration that names no database."""
    gateway = tables(kernel.config)["gateway"]
    return None if gateway["database"] else (Path(gateway["data_dir"]) / "toolway.db").absolute()


def _whole(is_sqlite: bool, answer: Any, seconds: float) -> Iterator[Finding]:
    if is_sqlite and answer not in ("ok", 1):
        todo = "stop the gateway, keep a copy of the file, and restore a backup or use the sqlite3 command .recover"
        yield error("database", f"the file is damaged: {answer}", todo)
    else:
        whole = " and is whole" if answer == "ok" else ""
        todo = "look at the load of its machine and the network between"
        yield above("database", seconds, (1.0, 5.0), f"answers in {seconds * 1000:.0f} ms{whole}", todo)


def _clock(is_sqlite: bool, answer: Any, now: float) -> Iterator[Finding]:
    if not is_sqlite:
        yield off("the database", float(answer) - now)


def off(whose: str, seconds: float) -> Finding:
    """How far another clock is off."""
    found = f"that of {whose} is {abs(seconds):.1f} s {'ahead' if seconds > 0 else 'behind'}"
    return above("clock", abs(seconds), (5.0, 60.0), found, "let NTP set the clocks of both machines")


def _room(kernel: Kernel, file: Path | None) -> Iterator[Finding]:
    data = Path(tables(kernel.config)["gateway"]["data_dir"])
    for directory in {_existing(each.absolute()) for each in ((data, file.parent) if file else (data,))}:
        usage = shutil.disk_usage(directory)
        found = f"{usage.free // MIB} MiB of {usage.total // MIB} MiB are free at {directory}"
        used = 2.0 if usage.free < VERY_LITTLE else 1.0 if usage.free < LITTLE or usage.free * 50 < usage.total else 0.0
        yield above("disk", used, (1.0, 2.0), found, "remove something there, or move gateway.data_dir")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


async def keys(kernel: Kernel) -> Sequence[Finding]:
    """Whether others can read what only the gateway should."""
    return await asyncio.to_thread(lambda: list(_keys(tables(kernel.config))))


def _keys(config: dict[str, Any]) -> Iterator[Finding]:
    data, tls = Path(config["gateway"]["data_dir"]), config["gateway"]["tls"] or {}
    private = [data, data / "root.key", *(Path(tls[name]) for name in ("key",) if name in tls)]
    open_ones = [path for path in private if path.exists() and path.stat().st_mode & 0o077]
    for path in open_ones:
        yield error("keys", f"others can read {path}", f'run "chmod go= {path}"')
    for path in {Path(each) for each in references(config, "file:")}:
        if not path.exists():
            yield error("keys", f"{path}, which a file: reference names, is not there", "make it, or correct the path")
        elif path.stat().st_mode & 0o007:
            yield warning("keys", f"everybody can read {path}", f'run "chmod o= {path}"')
    if not open_ones:
        yield good("keys", f"nobody else can read {data}")


async def certificates(kernel: Kernel) -> Sequence[Finding]:
    """Those that the gateway shows to clients, and the authorities that it knows clients by."""
    tls = tables(kernel.config)["gateway"]["tls"]
    if not tls:
        return [good("certificates", "the gateway itself serves plain HTTP")]
    names = [tls["cert"], *([tls["client_ca"]] if tls["client_ca"] else [])]
    return [
        finding for name in names for finding in await asyncio.to_thread(_certificates, Path(name), kernel.clock.now())
    ]


def _certificates(file: Path, now: float) -> list[Finding]:
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except (OSError, ValueError) as failure:
        reason = getattr(failure, "strerror", None) or "no PEM"
        return [error("certificates", f"{file} cannot be read: {reason}", "let gateway.tls name a readable PEM file")]
    ends = [(each.not_valid_after_utc, each.not_valid_before_utc) for each in found]
    return [expiry(str(file), min(ends)[0], now)]


def expiry(whose: str, ends: datetime, now: float) -> Finding:
    """How long a certificate is valid."""
    days = (ends - datetime.fromtimestamp(now, UTC)).total_seconds() / 86_400
    todo = f"renew the certificate of {whose}"
    found = f"{whose} {'is valid' if days > 0 else 'expired'} {abs(days):.0f} days {'more' if days > 0 else 'ago'}"
    return above("certificates", -days, (-SOON_DAYS, -NOW_DAYS), found, todo)
