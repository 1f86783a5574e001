"""The kernel stays small: its lines of code, and the sizes of its files and functions (docs/explanation/kernel.md).

Lines of code are lines that hold a token, without comments and docstrings. Migrations are history, not code to read,
and do not count. What is in the same wheel and is no kernel (the edge, the protocol, the bundled plugins, which live by
the rules of all plugins, and the programs) has bounds of its own.
"""

import ast
import io
import statistics
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

KERNEL = Path(__file__).resolve().parents[1] / "core/src/toolway"
KERNEL_LINES = 7_000
BESIDE = {"bundled": 5_385, "edge": 1_615, "mcp": 555, "cli": 1_605}
"""What is in the same wheel and is no kernel, with its most lines of code."""
FILE_LINES, MEDIAN_FILE_LINES = 500, 150
FUNCTION_LINES, P90_FUNCTION_LINES, MEDIAN_FUNCTION_LINES = 60, 25, 8

Function = ast.FunctionDef | ast.AsyncFunctionDef
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}


@pytest.mark.parametrize("folder", BESIDE)
def test_what_is_beside_the_kernel_in_its_wheel_is_small_too(folder: str) -> None:
    assert sum(len(code_lines(path)) for path in files() if part(path) == folder) <= BESIDE[folder]


def test_the_kernel_is_within_its_lines_of_code() -> None:
    sizes = {path.relative_to(KERNEL): len(code_lines(path)) for path in kernel_files()}

    folders: dict[str, int] = {}
    for path, size in sizes.items():
        folders[path.parts[0]] = folders.get(path.parts[0], 0) + size
    largest = ", ".join(f"{name} {size}" for name, size in sorted(folders.items(), key=lambda entry: -entry[1]))
    assert sum(sizes.values()) <= KERNEL_LINES, f"what breaks the budget is a plugin; by folder: {largest}"


def test_no_file_of_the_kernel_is_too_long() -> None:
    sizes = {str(path.relative_to(KERNEL)): len(text(path).splitlines()) for path in files()}

    too_long = {name: size for name, size in sizes.items() if size > FILE_LINES}
    assert not too_long, f"split these: {too_long}"
    assert statistics.median(sizes.values()) <= MEDIAN_FILE_LINES


def test_the_functions_of_the_kernel_are_short() -> None:
    sizes = {f"{path.relative_to(KERNEL)}:{node.lineno} {node.name}": size for path, node, size in functions()}

    too_long = {name: size for name, size in sizes.items() if size > FUNCTION_LINES}
    assert not too_long, f"split these: {too_long}"
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= P90_FUNCTION_LINES
    assert statistics.median(sizes.values()) <= MEDIAN_FUNCTION_LINES


def files() -> list[Path]:
    return sorted(path for path in KERNEL.rglob("*.py") if "migrations" not in path.relative_to(KERNEL).parts)


def kernel_files() -> list[Path]:
    return [path for path in files() if part(path) not in BESIDE]


def part(path: Path) -> str:
    return path.relative_to(KERNEL).parts[0]


def functions() -> Iterator[tuple[Path, Function, int]]:
    """Every function that does something, with the lines of code of its body."""
    for path in files():
        code = code_lines(path)
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, Function) and not is_declaration(node):
                first, last = node.body[0].lineno, node.body[-1].end_lineno or 0
                yield path, node, sum(first <= line <= last for line in code)


def is_declaration(node: Function) -> bool:
    """Whether the body is a docstring or an ellipsis only, as in a Protocol."""
    return all(isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) for part in node.body)


@cache
def code_lines(path: Path) -> frozenset[int]:
    tokens = tokenize.generate_tokens(io.StringIO(text(path)).readline)
    lines = {line for each in tokens if each.type not in NO_CODE for line in range(each.start[0], each.end[0] + 1)}
    return frozenset(lines - docstring_lines(ast.parse(text(path))))


def docstring_lines(tree: ast.Module) -> set[int]:
    documented = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | Function) and ast.get_docstring(node, clean=False) is not None
    ]
    strings = [node.body[0] for node in documented]
    return {line for string in strings for line in range(string.lineno, (string.end_lineno or string.lineno) + 1)}


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    totals = {folder: [path for path in files() if part(path) == folder] for folder in BESIDE}
    for name, found in {"kernel": kernel_files(), **totals}.items():
        print(name, sum(len(code_lines(path)) for path in found), "lines of code in", len(found), "files")
    for where, node, size in sorted(functions(), key=lambda entry: -entry[2])[:20]:
        print(f"{size:4} {where.relative_to(KERNEL)}:{node.lineno} {node.name}")
