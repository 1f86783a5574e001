"""The repository keeps its shape: versions agree, every package is listed, README and CI run the same command."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOP_LEVEL = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md"),
    *("constraints.txt", "mkdocs.yml", "pyproject.toml", "requirements-dev.txt", "tox.ini"),
    *("changes", "contrib", "core", "docs", "examples", "plugins", "tests"),
}
LEFT_BEHIND = {"build", "dist", "htmlcov", "node_modules", "site", "toolway-data", "toolway.toml", "uv.lock"}
SKIPPED = {".venv", ".tox", ".git", "node_modules", "build", "dist", "site", "toolway-data"}
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
BANNED_IN_CODE = {
    "BaseHTTPMiddleware": "write pure ASGI middleware: it copies streams and loses context variables",
    "load_setuptools_entrypoints": "it imports every installed plugin; use the plugin host",
    "add_middleware": "middleware goes into the constructor of the application",
}
FIRST_COMMAND = (
    "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt ./core && .venv/bin/toolway serve --demo"
)
FRAGMENT = re.compile(r"[a-z0-9-]+\.(added|changed|fixed|removed|security)\.md")


@cache
def project(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def found(pattern: str) -> list[Path]:
    return sorted(path.parent for path in ROOT.glob(f"{pattern}/pyproject.toml"))


LIBRARIES = [*found("core"), *found("core/testing"), *found("plugins/*"), *found("contrib/*")]
EXAMPLES = found("examples/*")
PACKAGES = [*LIBRARIES, *EXAMPLES]
DEVELOPED = [folder for folder in PACKAGES if ROOT / "contrib" not in folder.parents]
every_package = pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: str(folder.relative_to(ROOT)))
every_library = pytest.mark.parametrize("folder", LIBRARIES, ids=lambda folder: str(folder.relative_to(ROOT)))


@every_package
def test_every_package_has_the_version_of_the_kernel(folder: Path) -> None:
    assert project(folder)["project"]["version"] == project(ROOT / "core")["project"]["version"]
    for module in folder.glob("src/*/__init__.py"):
        written = re.search(r'^__version__ = "(.*)"$', module.read_text(encoding="utf-8"), re.MULTILINE)
        assert written is None or written[1] == project(folder)["project"]["version"]


@every_package
def test_every_package_is_built_and_licensed_alike(folder: Path) -> None:
    described = project(folder)
    assert described["build-system"]["build-backend"] == "flit_core.buildapi"
    assert described["project"]["requires-python"] == ">=3.11"
    assert described["project"]["license"] == "Apache-2.0"
    assert folder == ROOT / "core" or any(need.startswith("toolway>=") for need in described["project"]["dependencies"])


@every_library
def test_every_package_is_typed_and_has_a_readme(folder: Path) -> None:
    name = project(folder)["project"]["name"].replace("-", "_")
    assert (folder / "src" / name / "__init__.py").is_file()
    assert (folder / "src" / name / "py.typed").is_file()
    assert (folder / "README.md").is_file()
    assert project(folder)["project"]["readme"] == "README.md"


def test_the_development_requirements_name_every_package() -> None:
    lines = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").split("\n")
    assert lines == [*(f"-e ./{folder.relative_to(ROOT)}" for folder in sorted(DEVELOPED)), ""]


def test_the_type_checker_knows_every_source_folder() -> None:
    paths = project(ROOT)["tool"]["mypy"]["mypy_path"]
    sources = [folder / "src" for folder in DEVELOPED if folder not in EXAMPLES] + EXAMPLES
    missing = [f"$MYPY_CONFIG_FILE_DIR/{source.relative_to(ROOT)}" for source in sources]
    assert sorted(set(missing) - set(paths)) == [], "add them to mypy_path in pyproject.toml"


def test_import_linter_knows_every_package_and_guards_every_private_part_of_the_kernel() -> None:
    settings = project(ROOT)["tool"]["importlinter"]
    names = {project(folder)["project"]["name"].replace("-", "_") for folder in LIBRARIES if folder in DEVELOPED}
    assert names == set(settings["root_packages"])
    (protected,) = [each["protected_modules"] for each in settings["contracts"] if each["type"] == "protected"]
    assert sorted(protected) == sorted(f"toolway.{name}" for name in kernel_parts() - {"plugin", "hookspecs"})
    (bundled,) = [
        each["forbidden_modules"]
        for each in settings["contracts"]
        if "toolway.bundled" in each.get("source_modules", ())
    ]
    assert sorted(bundled) == sorted(set(protected) - {"toolway.bundled", "toolway.mcp"})


def test_the_root_holds_nothing_unexpected() -> None:
    names = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert names - TOP_LEVEL - LEFT_BEHIND == set()


def test_the_readme_has_the_commands_that_are_tested() -> None:
    commands = re.findall(r"```console\n(python3 -m venv .*)\n```", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(commands) == 2, "the README has two commands: one runs the gateway, one the tests"
    assert commands[0] == FIRST_COMMAND, "tests/e2e/test_first_command.py follows it"
    assert (ROOT / ".ci/run").read_text(encoding="utf-8").endswith(f"\n{commands[1]}\n")


def test_the_constraints_hold_versions_and_no_addresses() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[^ /@]+( ; .*)?", line)]
    names = [line.partition("==")[0] for line in lines if ";" not in line]
    assert lines
    assert wrong == []
    assert sorted(set(names)) == sorted(names)


def test_the_kernel_requires_only_what_it_imports() -> None:
    entries = project(ROOT / "core")["project"]["dependencies"]
    required = {re.split(r"[\[>=<;]", entry)[0].removesuffix("-cffi") for entry in entries}
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "core/src").rglob("*.py"))

    unused = {
        name for name in required if not re.search(rf"^\s*(from|import) {name}\b|\+{name}:", sources, re.MULTILINE)
    }

    assert unused == set()


def test_no_tests_folder_is_a_package() -> None:
    assert [path for path in sources("__init__.py") if "tests" in path.relative_to(ROOT).parts[:-2]] == []
    assert [path for path in sources("__init__.py") if path.parent.name == "tests"] == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [path for path in sources("*.py") if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES] == []


def test_no_source_uses_what_the_style_bans() -> None:
    assert [
        f"{path.relative_to(ROOT)}: {name}: {BANNED_IN_CODE[name]}"
        for path in sources("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in names_in(node) & BANNED_IN_CODE.keys()
    ] == []


def test_every_change_fragment_has_a_kind() -> None:
    names = [path.name for path in (ROOT / "changes").iterdir() if path.name != "README.md"]
    assert [name for name in names if not FRAGMENT.fullmatch(name)] == []


def kernel_parts() -> set[str]:
    folder = ROOT / "core/src/toolway"
    packages = {path.parent.name for path in folder.glob("*/__init__.py")}
    return packages | {path.stem for path in folder.glob("*.py")} - {"__init__"}


def sources(pattern: str) -> list[Path]:
    """Files of the repository that match, without environments and caches."""
    return [
        path
        for path in sorted(ROOT.rglob(pattern))
        if not any(part in SKIPPED or part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]


def names_in(node: ast.AST) -> set[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return {name}
        case ast.ImportFrom(names=aliases):
            return {alias.name for alias in aliases}
        case _:
            return set()
