"""The command as somebody types it at a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOOLWAY = str(Path(sys.executable).with_name("toolway"))
PATIENCE = 30.0
ASKS = re.compile(rb"(?i)(password|confirmation|token|passphrase): $")


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str


class Shell:
    """A person at a terminal, who has nothing in the environment but where the gateway is."""

    def __init__(self, url: str, home: Path, token: str = "") -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TOOLWAY_")}
        self._environment = {**kept, "TOOLWAY_URL": url, "TOOLWAY_TOKEN": token, "XDG_CONFIG_HOME": str(home)}
        self._environment |= {"TERM": "xterm", "COLUMNS": "200"}
        self._home = home
        home.mkdir(exist_ok=True)

    def run(self, *arguments: str, answers: tuple[str, ...] = (), token: str = "") -> Ran:
        """Run it on a terminal, in the directory `home`, and type these answers when it asks."""
        terminal, inner = pty.openpty()
        streams = {"stdin": inner, "stdout": inner, "stderr": inner}
        environment = self._environment | ({"TOOLWAY_TOKEN": token} if token else {})
        command = [TOOLWAY, *arguments]
        with subprocess.Popen(command, env=environment, cwd=self._home, start_new_session=True, **streams) as ran:  # type: ignore[call-overload]
            os.close(inner)
            seen = _typed(terminal, list(answers))
            if seen is None:
                ran.kill()
        os.close(terminal)
        assert seen is not None, f"{arguments} waits for an answer that the test does not give"
        return Ran(ran.returncode, seen.decode(errors="replace"))


def _typed(terminal: int, answers: list[str]) -> bytes | None:
    """What is seen until the command ends, when the answers are typed as it asks; None when it does not end."""
    seen = b""
    while select.select([terminal], [], [], PATIENCE)[0]:
        try:
            seen += os.read(terminal, 65536)
        except OSError:  # the other side is closed
            return seen
        if answers and ASKS.search(seen):
            os.write(terminal, f"{answers.pop(0)}\n".encode())
    return None
