"""The prompts of one upstream as they are served now: those that were found to be in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from toolway.plugin import ToolwayError
from toolway_prompts.files import Signature, read_files, signature
from toolway_prompts.linting import errors_of, lint_collection, lint_prompt
from toolway_prompts.pool import Jobs
from toolway_prompts.prompt import Collection, Prompt

log = logging.getLogger(__name__)


class Library:
    """Of a collection, and of a directory if there is one. A file that is broken changes nothing: what it had stays."""

    def __init__(self, name: str, pool: Jobs, collection: Collection, directory: Path | None = None) -> None:
        self.name, self.directory = name, directory
        self._pool, self._given = pool, collection
        self._loading = asyncio.Lock()
        self._signature: Signature | None = None
        self._files: dict[Path, Prompt] = {}
        self._errors: dict[tuple[str, int, str], str] = {}
        self._is_loaded = False
        self.collection = Collection()
        self.served: Mapping[str, Prompt] = {}
        self.problems: tuple[str, ...] = ()

    async def load(self) -> None:
        """Read and check everything, if that was not done yet."""
        if not self._is_loaded:
            await self.refresh()

    async def changed(self) -> bool:
        """Whether the directory is not as it was read."""
        if self.directory is None:
            return False
        try:
            return await asyncio.to_thread(signature, self.directory) != self._signature
        except OSError:
            return self._signature is not None

    async def refresh(self) -> None:
        """Read and check everything that is not as it was."""
        async with self._loading:
            if self._is_loaded and not await self.changed():
                return
            problems = await self._read(self.directory) if self.directory is not None else []
            self.collection = self._whole(problems)
            problems += [f"{each.prompt}: {each.message}" for each in lint_collection(self.collection)]
            self.served = await self._chosen(problems)
            self.problems, self._is_loaded = tuple(problems), True
            for problem in problems:
                log.warning("upstream %s: %s", self.name, problem)

    async def _read(self, directory: Path) -> list[str]:
        """The files, and what is wrong with them."""
        try:
            self._signature = await asyncio.to_thread(signature, directory)
            files = await asyncio.to_thread(read_files, directory)
        except (OSError, ToolwayError) as error:
            self._signature = None
            reason = error.message if isinstance(error, ToolwayError) else error.strerror
            return [f"directory {str(directory)!r} cannot be read, what it had is served: {reason}"]
        known = {each.path: each.prompt or self._files.get(each.path) for each in files}
        self._files = {path: prompt for path, prompt in known.items() if prompt is not None}
        return [f"{each.path.name} {each.problem}" for each in files if each.problem]

    def _whole(self, problems: list[str]) -> Collection:
        """What is given together with what is in files; the first of a name and version counts."""
        found: dict[tuple[str, int], Prompt] = {}
        every = (*self._given.prompts, *self._files.values())
        second = [each for each in every if found.setdefault((each.name, each.version), each) is not each]
        problems += [
            f"version {each.version} of prompt {each.name!r} is there twice; the first counts" for each in second
        ]
        return Collection.model_construct(prompts=tuple(found.values()), serve=self._given.serve)

    async def _chosen(self, problems: list[str]) -> dict[str, Prompt]:
        """What is served of each name: what was until now, or an older version, if the newest has errors."""
        chosen = {}
        for name, versions in self.collection.candidates().items():
            for number, prompt in enumerate(versions):
                if await self._fits(prompt, problems):
                    chosen[name] = prompt
                    break
                if number == 0 and name in self.served:
                    chosen[name] = self.served[name]
                    break
        return chosen

    async def _fits(self, prompt: Prompt, problems: list[str]) -> bool:
        """Whether it can be served."""
        key = prompt.name, prompt.version, prompt.digest
        if key not in self._errors:
            errors = errors_of(await lint_prompt(self._pool, prompt))
            self._errors[key] = "; ".join(f"{each.where} line {each.line}: {each.message}" for each in errors[:3])
        if self._errors[key]:
            problems.append(f"prompt {prompt.name!r} version {prompt.version} is left out: {self._errors[key]}")
        return not self._errors[key]
