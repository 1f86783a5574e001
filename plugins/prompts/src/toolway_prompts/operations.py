"""The API of the tester and validator: it looks at prompts, stored ones and drafts, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from toolway.hookspecs.api import ANY, Incoming, Operation
from toolway.hookspecs.auth import Resource
from toolway.plugin import Kernel, NotFound
from toolway_prompts.cases import run_cases
from toolway_prompts.comparing import rendered_difference, source_difference
from toolway_prompts.entities import ENTITY
from toolway_prompts.kind import PromptsKind, PromptsUpstream
from toolway_prompts.library import Library
from toolway_prompts.linting import lint, lint_collection
from toolway_prompts.prompt import Prompt
from toolway_prompts.rendering import Renderer
from toolway_prompts.schemas import Diff, DiffBody, Draft, Preview, PreviewBody, Report, TestReport, Which

READ, WRITE = f"{ENTITY}:read", f"{ENTITY}:write"
PATH = f"/api/v1/{ENTITY}"


class PromptOperations:
    """Who may read a collection may look at it in all these ways; drafts are for those who may write some."""

    def __init__(self, kernel: Kernel, renderer: Renderer, prompts: PromptsKind) -> None:
        self._kernel, self._renderer, self._prompts = kernel, renderer, prompts

    def operations(self) -> Iterable[Operation]:
        """All of them."""
        one = f"{PATH}/{{name}}"
        return [
            Operation("GET", f"{one}/lint", READ, self.lint, query=Which, answer=Report, filters=True),
            Operation("POST", f"{one}/preview", READ, self.preview, PreviewBody, answer=Preview, filters=True),
            Operation("POST", f"{one}/diff", READ, self.diff, DiffBody, answer=Diff, filters=True),
            Operation("POST", f"{one}/test", READ, self.test, query=Which, answer=TestReport, filters=True),
            Operation("POST", "/api/v1/prompt-drafts/lint", WRITE, self.lint_draft, Draft, answer=Report),
            Operation("POST", "/api/v1/prompt-drafts/test", WRITE, self.test_draft, Draft, answer=TestReport),
        ]

    async def lint(self, incoming: Incoming) -> Report:
        """Look for what is wrong with the prompts of a collection, in all versions."""
        library = await self._library(incoming)
        findings = [] if incoming.query.prompt else list(lint_collection(library.collection))
        return Report.of(findings + await lint(self._renderer.pool, _chosen(library, incoming.query.prompt)))

    async def preview(self, incoming: Incoming) -> Preview:
        """Render a prompt as a client would get it."""
        library, body = await self._library(incoming), cast(PreviewBody, incoming.body)
        prompt = self._drafted(incoming, body.draft) or _version(library, body.prompt, body.version)
        messages = await self._renderer.messages(prompt, body.arguments)
        return Preview(prompt=prompt.name, version=prompt.version, description=prompt.description, messages=messages)

    async def diff(self, incoming: Incoming) -> Diff:
        """Compare two versions of a prompt, as written and as rendered."""
        library, body = await self._library(incoming), cast(DiffBody, incoming.body)
        old = _version(library, body.prompt, body.old)
        new = self._drafted(incoming, body.draft) or _version(library, body.prompt, body.new)
        given = body.arguments
        rendered = None if given is None else await rendered_difference(self._renderer, old, new, given)
        return Diff(source=source_difference(old, new), rendered=rendered)

    async def test(self, incoming: Incoming) -> TestReport:
        """Run the tests that are stored with the prompts, in the versions that are served."""
        library = await self._library(incoming)
        chosen = [each for each in library.collection.served().values() if incoming.query.prompt in ("", each.name)]
        return TestReport.of(await run_cases(self._renderer, chosen))

    async def lint_draft(self, incoming: Incoming) -> Report:
        """Look for what is wrong with prompts that are not stored."""
        return Report.of(await lint(self._renderer.pool, incoming.body.prompts))

    async def test_draft(self, incoming: Incoming) -> TestReport:
        """Run the tests of prompts that are not stored."""
        return TestReport.of(await run_cases(self._renderer, incoming.body.prompts))

    async def _library(self, incoming: Incoming) -> Library:
        view = self._kernel.catalog.snapshot.upstreams.get(incoming.name)
        settings = view.upstream.settings if view else None
        if not isinstance(settings, PromptsUpstream):
            incoming.demand(READ, incoming.name)
            raise NotFound(f"{ENTITY} has no {incoming.name!r}")
        incoming.demand(READ, Resource(settings.name, owner=settings.owner, visibility=settings.visibility))
        library = self._prompts.library(settings)
        await library.load()
        return library

    def _drafted(self, incoming: Incoming, draft: Prompt | None) -> Prompt | None:
        if draft is not None:
            incoming.demand(WRITE, ANY)
        return draft


def _chosen(library: Library, name: str) -> list[Prompt]:
    chosen = [each for each in library.collection.prompts if name in ("", each.name)]
    if name and not chosen:
        raise NotFound(f"collection {library.name!r} has no prompt {name!r}")
    return chosen


def _version(library: Library, name: str, version: int | None) -> Prompt:
    prompt = library.collection.version(name, version)
    if prompt is None:
        what = f"prompt {name!r}" if version is None else f"version {version} of prompt {name!r}"
        raise NotFound(f"collection {library.name!r} has no {what}")
    return prompt
