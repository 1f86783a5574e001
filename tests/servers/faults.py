"""Breaks any function of any plugin inside of a running gateway: see `sitecustomize` that `installed` writes.

Each module of a plugin is compiled with one more statement in front of every function's own, so what it raises comes
out of the plugin's own frame. Nothing is raised until a test orders it, over a socket that is not the gateway's.
"""

from __future__ import annotations

import ast
import builtins
import json
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeAlias

import wire
from breakages import BREAKAGES

from toolway.edge import metrics

VARIABLE = "TOOLWAY_TEST_FAULTS"
BUNDLED = "toolway.bundled."
HOOK = "toolway_faulty"
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def plugin_of(module: str) -> str | None:
    """The package that a module belongs to, by its name in the list of packages."""
    first, _, rest = module.partition(".")
    if first.startswith("toolway_") and first != "toolway_testing":
        return first.removeprefix("toolway_").replace("_", "-")
    return rest.split(".")[1] if module.startswith(BUNDLED) else None


def plugin_of_function(where: str) -> str | None:
    """The package of a function, as it is called in orders."""
    return plugin_of(where.partition(":")[0])


def is_bundled(package: str) -> bool:
    """Whether it comes with the gateway."""
    return find_spec(f"{BUNDLED}{package}") is not None


def packages(root: Path) -> set[str]:
    """Every package of a plugin in the repository."""
    found = {each.parent.name for each in (root / "plugins").glob("*/pyproject.toml")}
    return found | {each.parent.name for each in (root / "core/src/toolway/bundled").glob("*/__init__.py")}


class Faults:
    """What was entered, what is to be broken and how, and what was."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self.entered: dict[str, None] = {}
        self.raised: dict[str, None] = {}
        self.order: Mapping[str, str] = {}

    def __call__(self, where: str) -> None:
        """A function begins."""
        self.entered[where] = None
        if where not in self.order:
            return
        kind = self.order[where]
        self.raised[where] = None
        secrets = self._secrets  # noqa: F841 - a frame with secrets in it, for whatever shows frames
        error, cause = BREAKAGES[kind](self._secrets), BREAKAGES["key"](self._secrets)
        raise error from cause

    def exchange(self, order: Mapping[str, str]) -> dict[str, Sequence[str]]:
        """Take another order; what happened during the last one."""
        happened: dict[str, Sequence[str]] = {"entered": [*self.entered], "raised": [*self.raised]}
        self.entered, self.raised, self.order = {}, {}, order
        return happened


def install(port: int, secrets: Mapping[str, str], order: Mapping[str, str]) -> Faults:
    """Break what is imported from now on; further orders come to this port, if there is one."""
    faults = Faults(secrets)
    faults.order = order
    setattr(builtins, HOOK, faults)
    sys.meta_path.insert(0, Finder())
    metrics.LATE = 0.0  # what ended is told within the step that ended it
    if port:
        threading.Thread(target=_server(faults, port).serve_forever, daemon=True).start()
    return faults


def _server(faults: Faults, port: int) -> HTTPServer:
    class Orders(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = json.dumps(faults.exchange(order)).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Nothing is logged."""

    return HTTPServer(("127.0.0.1", port), Orders)


class Finder(MetaPathFinder):
    """Finds modules of plugins where everybody finds them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `MetaPathFinder`."""
        spec = PathFinder.find_spec(fullname, path, target) if plugin_of(f"{fullname}.") else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


class Loader(SourceFileLoader):
    """Compiles a module with a statement more in each function; nothing is cached."""

    def get_code(self, fullname: str) -> CodeType:
        """See `SourceFileLoader`."""
        tree = ast.parse(self.get_data(self.path), self.path)
        _break(tree, fullname)
        code: CodeType = compile(tree, self.path, "exec", dont_inherit=True)
        return code


def _break(node: ast.AST, name: str) -> None:
    for child in ast.iter_child_nodes(node):
        inner = f"{name}:{child.name}" if isinstance(child, Function | ast.ClassDef) else name
        _break(child, inner)
        if isinstance(child, Function):
            at = int(ast.get_docstring(child, clean=False) is not None)
            [statement] = ast.parse(f"{HOOK}({inner!r})").body
            for each in ast.walk(statement):
                ast.copy_location(each, child)
            child.body.insert(at, statement)


def installed(
    directory: Path, port: int, secrets: Mapping[str, str], order: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a process needs in its environment to be one that can be broken; `order` is the first one."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sitecustomize.py").write_text("import faults\n\nfaults.begin()\n")
    path = os.pathsep.join([str(directory), str(Path(__file__).parent), str(Path(wire.__file__).parent)])
    return {
        VARIABLE: json.dumps({"port": port, "secrets": dict(secrets), "order": dict(order or {})}),
        "PYTHONPATH": os.pathsep.join([path, os.environ.get("PYTHONPATH", "")]),
    }


def begin() -> None:
    """In the process, not in those that it starts."""
    if (wanted := os.environ.pop(VARIABLE, None)) is not None:
        install(**json.loads(wanted))


def exchange(port: int, order: Mapping[str, str]) -> dict[str, list[str]]:
    """What happened in the process since the last order, and a new order: how which function breaks."""
    answer = wire.send(f"http://127.0.0.1:{port}/", "PUT", json.dumps(order).encode(), {})
    happened: dict[str, list[str]] = json.loads(answer.body)
    return happened
