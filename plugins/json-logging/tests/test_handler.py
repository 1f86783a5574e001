"""The handler by itself: whatever becomes of a record, whoever logs goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from toolway_json_logging.handler import QueuedHandler
from toolway_json_logging.json_lines import JsonLines


def test_whoever_logs_does_not_fail_when_nothing_can_be_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(entry: object) -> None:
        raise MemoryError

    with (tmp_path / "log").open("w") as log:
        handler = QueuedHandler(JsonLines(lambda text, key=None: text), log.fileno(), 100)
        record = logging.LogRecord("x", logging.ERROR, "", 1, "%s", ("any",), None)
        with monkeypatch.context() as full:
            full.setattr(handler.writer, "put", put)
            handler.handle(record)
        handler.handle(record)
        handler.close()

    assert '"event":"any"' in (tmp_path / "log").read_text()
    assert handler.writer.dropped == 1
