"""A stdio MCP server that does not want to end, nor does its child: `python stubborn.py FILE` writes both ids down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ABOUT = {"capabilities": {}, "serverInfo": {"name": "stubborn", "version": "1"}}


def stay() -> None:
    """For a minute, whatever anybody says."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "from stubborn import stay; stay()"], cwd=Path(__file__).parent)
    Path(sys.argv[1]).write_text(f"{os.getpid()} {child.pid}")
    for line in sys.stdin:
        message = json.loads(line)
        if message.get("method") == "initialize":
            answer: dict[str, Any] = {"result": {"protocolVersion": "2025-11-25", **ABOUT}}
        else:
            answer = {"error": {"code": -32601, "message": "Method not found"}}
        if "id" in message:
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
    stay()
