"""A report of sections that are slow, broken, large or hostile."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest

from toolway_diagnostics import bundle
from toolway_diagnostics.bundle import BUNDLE_BYTES, Archive, collected, of
from toolway_diagnostics.recent_lines import LINE_BYTES, RecentLines, Ring
from toolway_diagnostics.report import html
from toolway_diagnostics.stacks import tasks, threads
from toolway_diagnostics.storage import expiry

NOW = 1_800_000_000.0
DAY = 86_400


def hushed(text: str, key: str | None = None) -> str:
    return "[redacted]" if key == "password" else text.replace("hush", "[redacted]")


async def test_one_section_that_fails_or_is_late_or_large_does_not_spoil_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bundle, "COLLECT_SECONDS", 0.05)

    async def late() -> Any:
        await asyncio.Event().wait()

    async def broken() -> Any:
        raise RuntimeError("hush")

    found = await collected(
        {
            "late": late,
            "broken": broken,
            "large": of(lambda: {"text": "x" * 2_000_000}),
            "long": of(lambda: ["x" * 1000] * 2_000),
            "odd": of(lambda: {1: {2, 3}, "at": datetime(2026, 1, 1, tzinfo=UTC)}),
            "secret": of(lambda: {"password": "abc", "hush": ["so hush it is"]}),
        },
        hushed,
    )

    assert found["late"] == {"failed": "no answer within 0.05 s"}
    assert found["broken"] == {"failed": "RuntimeError; the log says why"}
    assert found["large"]["left_out"].endswith("1048576 are the most")
    assert 1_000 < len(found["long"]) < 1_100 and found["long"][-1].endswith("for which there is no room]")
    assert found["odd"] == {"1": [2, 3], "at": "2026-01-01T00:00:00Z"}
    assert found["secret"] == {"password": "[redacted]", "[redacted]": ["so [redacted] it is"]}


def test_the_archive_never_exceeds_its_bounds() -> None:
    sections = {f"part {number}": ["<" * 1000] * 900 for number in range(8)}

    content = Archive("node", NOW).packed({**sections, "small": ["kept"]})

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sum(each.file_size for each in archive.infolist()) <= BUNDLE_BYTES
        report = json.loads(archive.read("report.json"))
    assert report["small"] == ["kept"] and "for which there is no room" in str(report)
    assert len(content) <= BUNDLE_BYTES


def test_the_page_escapes_everything_and_needs_nothing_from_elsewhere() -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x>"
    sections = {
        hostile: hostile,
        "logs": [hostile],
        "tables": [{hostile: hostile, "level": hostile}, hostile],
        "pairs": {hostile: [hostile, None, True, 1.5, []]},
        "none": [],
    }

    page = html({"node": hostile, "made": "now"}, sections)

    assert "<script" not in page and "<img" not in page
    assert (
        "src=" not in page.replace("src=x&gt;", "") and "url(" not in page and "http" not in page.partition("<body>")[2]
    )
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_lines_are_bounded_by_bytes_and_errors_are_kept_apart() -> None:
    lines, ring = RecentLines(), Ring(1_000)
    for number in range(100):
        ring.add(f"{number} äöü")
    lines.redact = hushed
    for level in (logging.ERROR, logging.INFO):
        lines.handle(logging.LogRecord("x", level, "", 1, "%s", ("z" * 100_000,), None))

    assert sum(len(each.encode()) for each in ring.lines()) <= 1_000 and ring.lines()[-1] == "99 äöü"
    assert len(lines.logs.lines()) == 2 and len(lines.errors.lines()) == 1
    assert len(lines.logs.lines()[0]) < LINE_BYTES + 50


def test_of_a_line_that_cannot_be_formatted_nothing_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    lines = RecentLines()
    lines.redact = hushed

    lines.handle(logging.LogRecord("x", logging.ERROR, "", 1, "%d", ("hunter2",), None))

    assert lines.errors.lines() == ["a line of x could not be formatted: TypeError"]
    assert "hunter2" not in capfd.readouterr().err


async def test_equal_tasks_are_told_once_with_where_they_wait() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    many = [asyncio.create_task(outer()) for _ in range(120)]
    await asyncio.sleep(0)
    found = await tasks()
    for each in many:
        each.cancel()

    assert found[0]["tasks"] == 120 and "outer" in found[0]["task"]
    assert found[0]["stack"].splitlines()[-2].endswith("inner") and "Event.wait" in found[0]["stack"]
    assert any("test_bundle.py" in each["stack"] for each in threads())


@pytest.mark.parametrize(("days", "level"), [(90, "ok"), (20, "warning"), (3, "error"), (-3, "error")])
def test_certificates_are_told_of_before_they_expire(days: int, level: str) -> None:
    found = expiry("a.pem", datetime.fromtimestamp(NOW + days * DAY, UTC), NOW)

    assert found.level == level and str(abs(days)) in found.found
    assert bool(found.todo) == (level != "ok")
