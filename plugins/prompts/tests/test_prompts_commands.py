"""`toolway prompts …` as a person or a pipeline types it: on files without a gateway, and on a collection of one."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from prompt_samples import written

from toolway.cli.app import run
from toolway_testing.gateway import StartGateway


def typed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["toolway", "--json", *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    return int(ended.value.code or 0)


def test_good_files_pass_without_a_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = str(written(tmp_path / "prompts"))
    (tmp_path / "code.txt").write_text("x = 1")

    assert typed(monkeypatch, "prompts", "lint", directory, "--strict") == 0
    assert typed(monkeypatch, "prompts", "test", directory) == 0
    capsys.readouterr()
    given = [f"code=@{tmp_path / 'code.txt'}", "--arg", "points:=1"]
    assert typed(monkeypatch, "prompts", "preview", directory, "review", *given) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["messages"][0]["content"]["text"] == "Review this change:\n\nx = 1"
    assert len(shown["messages"]) == 4


def test_mistakes_in_files_have_a_place_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = written(tmp_path / "prompts")
    (directory / "bad.toml").write_text("[[messages]]\nfile = 'bad.md'\n")
    (directory / "bad.md").write_text("one\n {{ x|nope }} {% if %}")
    (directory / "worse.toml").write_text("messages = [")
    (directory / "other.toml").write_text("name = 'review'\n[[messages]]\ntext = '''\na {{ y }}'''\nwhen = 'z'")

    assert typed(monkeypatch, "prompts", "lint", str(directory)) == 1
    found = json.loads(capsys.readouterr().out)
    assert typed(monkeypatch, "prompts", "test", str(directory)) == 1

    assert "worse.toml: is not TOML" in capsys.readouterr().err
    told = {(each["file"], each["rule"], each["line"], each["column"]) for each in found if each["severity"] == "error"}
    assert told == {
        ("bad.md", "syntax", 2, 21),
        ("worse.toml", "bad-file", 0, 0),
        ("other.toml", "undeclared-variable", 4, 6),
        ("other.toml", "undeclared-variable", 5, 9),
        ("review.toml", "twice", 0, 0),
    }


def test_a_failed_test_and_a_difference_end_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = written(tmp_path / "prompts")
    case = "[[tests]]\nname = 'fails'\ncontains = ['b']\n"
    (directory / "review@2.toml").write_text(f"messages = [{{ text = 'a' }}]\n{case}")

    assert typed(monkeypatch, "prompts", "test", str(directory)) == 1
    assert json.loads(capsys.readouterr().out)[-1]["problems"] == ["no message contains 'b'"]
    assert typed(monkeypatch, "prompts", "diff", str(directory), "review", "1") == 1
    assert '+messages[0].text = "a"' in json.loads(capsys.readouterr().out)["source"]
    assert typed(monkeypatch, "prompts", "diff", str(directory), "review", "2", "2", "--arg", "x=1") == 1
    assert "has no argument 'x'" in capsys.readouterr().err
    assert typed(monkeypatch, "prompts", "lint", str(tmp_path / "none")) == 1
    assert typed(monkeypatch, "prompts", "preview", str(directory), "review", "--arg", "x") == 2


async def test_a_directory_is_pushed_and_looked_at_live(
    gateway: StartGateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate = await gateway(enable=["prompts"])
    directory = str(written(tmp_path / "prompts"))

    async def live(*arguments: str) -> int:
        words = ("--url", gate.url, "--token", gate.token, "prompts", *arguments)
        return await asyncio.to_thread(typed, monkeypatch, *words)

    assert await live("push", directory, "team") == 0
    capsys.readouterr()
    assert await live("list") == 0
    assert [(each["collection"], each["name"]) for each in json.loads(capsys.readouterr().out)] == [("team", "review")]
    assert await live("lint", "team", "--live", "--strict") == 0
    assert await live("test", "team", "--live", "--prompt", "review") == 0
    assert await live("diff", "team", "review", "1", "--live") == 0
    capsys.readouterr()
    assert await live("preview", "team", "review", "--live", "--arg", "code=y") == 0
    assert "y" in json.loads(capsys.readouterr().out)["messages"][0]["content"]["text"]
    (tmp_path / "prompts" / "bad.toml").write_text(f"messages = [{{ text = {json.dumps('{{')} }}]")
    assert await live("push", directory, "team") == 1
    assert "bad version 1, messages[0].text line 1" in capsys.readouterr().err
