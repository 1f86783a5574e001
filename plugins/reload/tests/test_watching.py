"""What counts as a change of the files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from toolway_reload.history import look


def mount(directory: Path, version: str, text: str) -> Path:
    """As the kubelet does: files are links to files behind a link that is switched in one go; all are of one age."""
    real = directory / f"..{version}"
    real.mkdir()
    (real / "toolway.toml").write_text(text)
    os.utime(real / "toolway.toml", (1, 1))
    (directory / "..new").symlink_to(real.name)
    (directory / "..new").replace(directory / "..data")
    file = directory / "toolway.toml"
    if not file.is_symlink():
        file.symlink_to("..data/toolway.toml")
    return file


def test_a_mount_that_is_switched_is_a_change_though_age_and_size_are_the_same(tmp_path: Path) -> None:
    file = mount(tmp_path, "one", "a = 1")
    before = look(lambda: [file])
    assert before
    assert look(lambda: [file]) == before

    mount(tmp_path, "two", "a = 2")

    assert look(lambda: [file]) != before


def test_what_is_gone_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "toolway.toml"
    file.write_text("")
    before = look(lambda: [file])
    file.unlink()
    assert look(lambda: [file]) == ()
    assert before != ()


def test_a_mounted_variable_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLWAY_SECRETS_DIR", str(tmp_path / "secrets"))
    assert look(tuple) == ()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "TOOLWAY_GATEWAY__PAGE_SIZE").write_text("7")
    before = look(tuple)

    (tmp_path / "secrets" / "TOOLWAY_GATEWAY__PAGE_SIZE").write_text("70")

    assert before not in ((), look(tuple))
