"""Collects a report: sections by name, each bounded in time and size, all of it redacted."""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from pydantic import BaseModel

from toolway.plugin import Kernel
from toolway_diagnostics.report import html

log = logging.getLogger(__name__)

COLLECT_SECONDS = 2.0
SECTION_BYTES = 1024 * 1024
BUNDLE_BYTES = 16 * 1024 * 1024
"""Most bytes of the archive and of what is in it, unpacked."""
LONG = {"logs": 2 * 1024 * 1024 + 512 * 1024}
"""Sections that may be longer: quotation marks take room too."""

Collector = Callable[[], Awaitable[Any]]
Sections = dict[str, Any]


async def collected(collectors: Mapping[str, Collector], redact: Callable[..., str]) -> Sections:
    """What all of them tell, in their order; one that fails or is late says so in its section."""
    told = await asyncio.gather(*(_told(name, collect) for name, collect in collectors.items()))
    sections = dict(zip(collectors, told, strict=True))
    return await asyncio.to_thread(lambda: {name: _safe(name, value, redact) for name, value in sections.items()})


async def _told(name: str, collect: Collector) -> Any:
    try:
        async with asyncio.timeout(COLLECT_SECONDS):
            return await collect()
    except TimeoutError:
        return {"failed": f"no answer within {COLLECT_SECONDS:g} s"}
    except Exception as error:
        log.exception("the section %r of the diagnostics failed", name)
        return {"failed": f"{type(error).__name__}; the log says why"}


def _safe(name: str, value: Any, redact: Callable[..., str]) -> Any:
    try:
        return bounded(
            redacted(msgspec.to_builtins(value, str_keys=True, enc_hook=_builtin), redact),
            LONG.get(name, SECTION_BYTES),
        )
    except Exception as error:  # noqa: BLE001 - of whatever a plugin told
        return {"failed": f"it is no JSON ({type(error).__name__})"}


def _builtin(value: Any) -> Any:
    """Models as they are shown by the API, anything else as text."""
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)


def redacted(value: Any, redact: Callable[..., str], key: str | None = None) -> Any:
    """JSON without secrets: every text, and every key."""
    if isinstance(value, str):
        return redact(value, key) if key else redact(value)
    if isinstance(value, dict):
        return {redact(name): redacted(inner, redact, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [redacted(inner, redact, key) for inner in value]
    return value


def bounded(value: Any, most: int) -> Any:
    """At most so many bytes of JSON: of a list as much as there is room for, of anything else only its size."""
    size = len(msgspec.json.encode(value))
    if size <= most:
        return value
    if isinstance(value, list):
        kept, room = [], most - 100
        for each in value:
            room -= len(msgspec.json.encode(each)) + 1
            if room < 0:
                break
            kept.append(each)
        return [*kept, f"[and {len(value) - len(kept)} more, for which there is no room]"]
    return {"left_out": f"it has {size} bytes, {most} are the most"}


class Archive:
    """`report.html` and `report.json` in one file."""

    def __init__(self, node: str, now: float) -> None:
        made = datetime.fromtimestamp(now, UTC)
        self._head = {"node": node, "made": made.isoformat(timespec="seconds")}
        self.name = f"toolway-diagnostics-{made:%Y%m%dT%H%M%SZ}.zip"

    def packed(self, sections: Sections) -> bytes:
        """The archive; the largest sections are left out while it is too large."""
        while True:
            report = {**self._head, **sections}
            files = {
                "report.json": msgspec.json.format(msgspec.json.encode(report), indent=1),
                "report.html": html(self._head, sections).encode(),
            }
            if sum(map(len, files.values())) <= BUNDLE_BYTES - 1024:
                return _zipped(files)
            sections = _smaller(sections)


def _smaller(sections: Sections) -> Sections:
    sizes = {name: len(msgspec.json.encode(value)) for name, value in sections.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    return {**sections, largest: {"left_out": f"it has {sizes[largest]} bytes, for which there is no room"}}


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def contributed(kernel: Kernel) -> dict[str, Collector]:
    """What plugins tell, by their names."""
    return {f"plugin {each.name}": each.collect for each in kernel.diagnostics}


def of(value: Callable[[], Any]) -> Collector:
    """A collector that has its answer at once."""

    async def collect() -> Any:
        return value()

    return collect


def in_thread(value: Callable[[], Any]) -> Collector:
    """A collector that reads files."""
    return lambda: asyncio.to_thread(value)


def rows(mapping: Mapping[str, Any], *names: str) -> Sequence[dict[str, Any]]:
    """A mapping as a table of two columns."""
    return [dict(zip(names, entry, strict=True)) for entry in mapping.items()]
