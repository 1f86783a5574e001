"""Does what the tutorial says, page by page: writes its files, types its commands, and finds what it promises.

In a `console` block a line after `$ ` is a command, and the lines below it are in its output, in this order; `…` stands
for anything.
"""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import running

from toolway_testing.ports import free_port

TUTORIAL = Path(__file__).resolve().parents[2] / "docs/tutorial"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PAGES = ["1-first-steps.md", "2-own-server.md", "3-own-plugin.md"]
PORT = "4440"


class Reader:
    """Somebody who follows the pages in one folder: `toolway serve` keeps running until it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = str(free_port())
        self._url = f"http://127.0.0.1:{self._port}"
        self._serving = ExitStack()
        self._token = ""
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TOOLWAY_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "installed"),
            "XDG_CONFIG_HOME": str(folder / "profile"),
            "COLUMNS": "200",
            "TOOLWAY_URL": self._url,
            "TOOLWAY_GATEWAY__BIND": f"127.0.0.1:{self._port}",
            "TOOLWAY_GATEWAY__DRAIN_DELAY": "0",
        }

    def follow(self, page: Path) -> None:
        for language, title, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            if title:
                self._write(title, text)
            elif language == "console":
                for command, expected in commands(text.replace(PORT, self._port)):
                    assert_shows(self._type(command), expected, command)

    def close(self) -> None:
        self._serving.close()

    def _write(self, name: str, text: str) -> None:
        file = self._folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def _type(self, command: str) -> str:
        if command.startswith(("python3 -m venv", "pip install -c")):
            return ""
        if command.startswith("pip install "):
            return install(self._folder / command.rsplit(maxsplit=1)[-1], self._folder / "installed")
        if command.startswith("toolway serve"):
            return self._serve(shlex.split(command))
        if command == "toolway login":
            command += f" --token {self._token}"
        return self._run(shlex.split(command))

    def _serve(self, words: list[str]) -> str:
        self._serving.close()
        log = self._folder / "gateway.log"
        arguments = [str(Path(sys.executable).with_name("toolway")), *words[1:]]
        process = running.child(arguments, log, self._has_tools, self._environment, cwd=self._folder)
        self._serving.enter_context(process)
        self._token = (re.findall(r"token \(shown once\): (\S+)", running.tail(log)) or [self._token])[0]
        return running.tail(log)

    def _has_tools(self) -> bool:
        return bool(running.list_tools(f"{self._url}/mcp"))

    def _run(self, words: list[str]) -> str:
        settings = dict(word.split("=", 1) for word in words if "=" in word and word.partition("=")[0].isupper())
        arguments = [word for word in words if word.partition("=")[0] not in settings]
        program = str(Path(sys.executable).with_name(arguments[0]))
        environment = {**self._environment, **settings}
        done = subprocess.run(
            [program, *arguments[1:]],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block with the lines below it."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *expected = part.splitlines()
        yield command, [line.strip() for line in expected if line.strip()]


def assert_shows(output: str, expected: list[str], command: str) -> None:
    pieces = [re.escape(piece.strip()) for line in expected for piece in line.split("…") if piece.strip()]
    assert re.search(".*".join(pieces), output, re.DOTALL), f"$ {command}\n{output}\nshould show: {expected}"


def install(project: Path, target: Path) -> str:
    """What `pip install` does with a project of one module, without asking an index."""
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = target / f"{described['name'].replace('-', '_')}-{described['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: {described['version']}\n"
    )
    for group, entries in described["entry-points"].items():
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module in project.glob("*.py"):
        (target / module.name).write_bytes(module.read_bytes())
    return ""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_tutorial_does_what_it_says(reader: Reader) -> None:
    assert [page.name for page in sorted(TUTORIAL.glob("[0-9]*.md"))] == PAGES
    for page in PAGES:
        reader.follow(TUTORIAL / page)
