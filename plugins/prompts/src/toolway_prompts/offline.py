"""The tester and validator on files, without a gateway."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from toolway.plugin import InvalidInput
from toolway_prompts.cases import run_cases
from toolway_prompts.comparing import rendered_difference, source_difference
from toolway_prompts.files import PromptFile, read_files
from toolway_prompts.linting import PromptFinding, lint
from toolway_prompts.pool import Bounds, Pool
from toolway_prompts.prompt import Collection, Prompt
from toolway_prompts.rendering import Renderer
from toolway_prompts.schemas import Diff, Preview, Report, TestReport

Found = TypeVar("Found")


class Desk:
    """Prompts of files, and what can be done with them; answers are as those of the API."""

    def __init__(self, files: list[PromptFile], renderer: Renderer) -> None:
        self._files, self._renderer = files, renderer
        self._prompts = [each.prompt for each in files if each.prompt is not None]

    async def lint(self, name: str) -> dict[str, Any]:
        """See `PromptOperations.lint`."""
        findings = []
        for file in self._files:
            if file.prompt is None:
                found = [PromptFinding(prompt=file.path.stem, rule="bad-file", message=file.problem)]
            else:
                found = await lint(self._renderer.pool, [file.prompt])
            findings += [_in_file(file, each) for each in found if name in ("", each.prompt)]
        return Report.of(findings + self._twice()).model_dump(mode="json")

    async def preview(self, name: str, version: int | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `PromptOperations.preview`."""
        prompt = self._version(name, version)
        messages = await self._renderer.messages(prompt, arguments)
        shown = Preview(prompt=name, version=prompt.version, description=prompt.description, messages=messages)
        return shown.model_dump(mode="json")

    async def diff(self, name: str, old: int, new: int | None, arguments: Mapping[str, Any] | None) -> dict[str, Any]:
        """See `PromptOperations.diff`."""
        before, after = self._version(name, old), self._version(name, new)
        rendered = None
        if arguments is not None:
            rendered = await rendered_difference(self._renderer, before, after, arguments)
        return Diff(source=source_difference(before, after), rendered=rendered).model_dump(mode="json")

    async def test(self, name: str) -> dict[str, Any]:
        """See `PromptOperations.test`; of all versions."""
        self._refuse_broken()
        chosen = [each for each in self._prompts if name in ("", each.name)]
        return TestReport.of(await run_cases(self._renderer, chosen)).model_dump(mode="json")

    def _version(self, name: str, version: int | None) -> Prompt:
        self._refuse_broken()
        found = Collection.model_construct(prompts=tuple(self._prompts), serve={}).version(name, version)
        if found is None:
            known = ", ".join(sorted({f"{each.name} version {each.version}" for each in self._prompts}))
            raise InvalidInput(f"there is no such prompt or version; there is {known or 'none'}")
        return found

    def _refuse_broken(self) -> None:
        for file in self._files:
            if file.prompt is None:
                raise InvalidInput(f"{file.path}: {file.problem}")

    def _twice(self) -> list[PromptFinding]:
        known: set[tuple[str, int]] = set()
        findings = []
        for file in self._files:
            if file.prompt is None:
                continue
            key = file.prompt.name, file.prompt.version
            if key in known:
                what = f"version {key[1]} of prompt {key[0]!r} is in another file too; give it another version"
                findings.append(
                    PromptFinding(prompt=key[0], version=key[1], rule="twice", message=what, file=file.path.name)
                )
            known.add(key)
        return findings


def _in_file(file: PromptFile, finding: PromptFinding) -> PromptFinding:
    """With the lines of the file in place of those of the template."""
    origin = file.origins.get(finding.where)
    if origin is None or not finding.line:
        return finding.model_copy(update={"file": file.path.name})
    column = finding.column + (origin.characters if finding.line == 1 and finding.column else 0)
    place = {"file": origin.file, "line": finding.line + origin.lines, "column": column}
    return finding.model_copy(update=place)


async def at_desk(target: str, work: Callable[[Desk], Awaitable[Found]]) -> Found:
    """Do something with the prompts of a directory or file, with workers that end afterwards."""
    files = read_files(Path(target))
    if not files:
        raise InvalidInput(f"{target!r} has no prompts; they are files that end with .toml")
    pool = Pool(Bounds(), 1)
    try:
        return await work(Desk(files, Renderer(pool)))
    finally:
        await pool.close()


def read_collection(target: str) -> list[Prompt]:
    """The prompts of a directory; raises InvalidInput if a file cannot be used."""
    prompts = []
    for file in read_files(Path(target)):
        if file.prompt is None:
            raise InvalidInput(f"{file.path}: {file.problem}")
        prompts.append(file.prompt)
    return prompts


def read_text(path: str) -> str:
    """A file; raises InvalidInput when it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from None
