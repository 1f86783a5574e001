"""Plugins see two packages of the kernel, and nothing of each other; the kernel sees no plugin.

import-linter says the same of packages (`tox -e lint`); this also holds for the one-file plugins of `examples/` and for
plugins of `contrib/`, and needs no list of names.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
KERNEL = ROOT / "core/src/toolway"
BUNDLED = KERNEL / "bundled"
PUBLIC = {"toolway.plugin", "toolway.hookspecs"}
OWN = "toolway"


def is_plugin(path: Path) -> bool:
    return "tests" not in path.relative_to(ROOT).parts


PLUGIN_FILES = [
    path
    for pattern in ("plugins/*/src/**/*.py", "contrib/*/src/**/*.py", "examples/*/**/*.py")
    for path in sorted(ROOT.glob(pattern))
    if is_plugin(path)
]


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_plugin_imports_only_the_public_packages_and_itself(path: Path) -> None:
    top = distribution_of(path)
    own = {module.stem for module in top.glob("*.py")} | {package.name for package in top.glob("src/*")}

    foreign = [name for name in imports(path) if name.split(".")[0].startswith(OWN) and name.split(".")[0] not in own]

    assert [name for name in foreign if ".".join(name.split(".")[:2]) not in PUBLIC] == []


def test_a_bundled_plugin_imports_what_other_plugins_may_and_the_messages_of_mcp() -> None:
    allowed = {*PUBLIC, "toolway.mcp", "toolway.bundled", "toolway.__version__"}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(BUNDLED.rglob("*.py"))
        for name in imports(path)
        if name.startswith(f"{OWN}.") and ".".join(name.split(".")[:2]) not in allowed
    }
    assert found == set()


def test_only_the_composition_of_a_gateway_knows_the_bundled_plugins() -> None:
    found = {
        path.name
        for path in sorted(KERNEL.rglob("*.py"))
        if BUNDLED not in path.parents and path.parent.name != "cli"
        for name in imports(path)
        if name.startswith("toolway.bundled")
    }
    assert found == {"app.py"}


def test_the_kernel_imports_no_plugin() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(KERNEL.rglob("*.py"))
        for name in imports(path)
        if name.startswith(f"{OWN}_")
    }
    assert found == set()


def distribution_of(path: Path) -> Path:
    return next(parent for parent in path.parents if (parent / "pyproject.toml").is_file())


def imports(path: Path) -> Iterator[str]:
    """Dotted names that the file imports; of `from a import b` it is `a.b`, because b may be a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
