"""What `pip install ./core` brings: size as pip leaves it, and the number of packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from bench import Bench
from outcome import Outcome, Table, Verdict

CORE = Path(__file__).resolve().parents[3] / "core"
OWN = {"pip", "setuptools", "wheel"}
INSTALL_SECONDS = 600
LARGEST_SHOWN = 12


def run(bench: Bench) -> Outcome:
    """Install it into a fresh environment."""
    outcome = Outcome("install")
    folder = bench.folder / "fresh"
    _command(sys.executable, "-m", "venv", str(folder))
    before = _size(folder.rglob("*"))
    python = str(folder / "bin/python")
    _command(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(CORE))
    size = (_size(folder.rglob("*")) - before) / 1e6
    listed = json.loads(_command(python, "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"))
    packages = [each["name"] for each in listed if each["name"] not in OWN]
    site = next(folder.glob("lib/python*/site-packages"))
    largest = sorted(((_size(part.rglob("*")) / 1e6, part.name) for part in site.iterdir()), reverse=True)
    lines = [[name, f"{part:.1f}"] for part, name in largest[:LARGEST_SHOWN]]
    outcome.tables.append(Table("largest parts of a fresh installation", [["", "MB"], *lines]))
    outcome.figures = {"megabytes": size, "packages": sorted(packages)}
    outcome.verdicts = [
        Verdict("size of an installation", size, "at most", 130, " MB"),
        Verdict("packages of an installation", len(packages), "at most", 56),
    ]
    return outcome


def _size(paths: Iterable[Path]) -> int:
    return sum(path.lstat().st_size for path in paths if path.is_file() and not path.is_symlink())


def _command(*command: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home())}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed: {ended.stderr.strip()[-1000:]}")
    return ended.stdout
