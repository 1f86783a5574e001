"""Everything that can be said about a prompt without arguments: by its templates, its schemas and its own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, Field

from toolway_prompts.arguments import schema_problem
from toolway_prompts.jobs import Analyse, Found
from toolway_prompts.pool import Jobs
from toolway_prompts.prompt import Collection, Prompt

COLUMN_OF_EXPRESSION = len("{% if (")


class PromptFinding(BaseModel):
    """Something wrong with a prompt. An `error` keeps it from being served, a `warning` does not."""

    prompt: str = Field(description="The name of the prompt; empty for the collection.")
    version: int = Field(0, description="Its version.")
    severity: Literal["error", "warning"] = "error"
    rule: str = Field(description="Stable name of what was looked for.")
    message: str = Field(description="What is wrong.")
    where: str = Field("", description="The member of the prompt, such as `messages[0].text`.")
    line: int = Field(0, description="Of the template, from 1; 0 when it is not about a line.")
    column: int = Field(0, description="In that line, from 1; 0 when it is not known.")
    file: str = Field("", description="The file, where there is one.")


class _Source:
    """The templates of a prompt as the worker gets them."""

    def __init__(self, prompt: Prompt) -> None:
        self.places: list[tuple[str, str]] = []
        self.expressions: list[int] = []
        for number, message in enumerate(prompt.messages):
            for key in ("text", "uri", "when"):
                if source := getattr(message, key):
                    self.expressions += [len(self.places)] if key == "when" else []
                    self.places.append((f"messages[{number}].{key}", source))

    @property
    def job(self) -> Analyse:
        return Analyse(tuple(source for _, source in self.places), tuple(self.expressions))


async def lint(pool: Jobs, prompts: Iterable[Prompt]) -> list[PromptFinding]:
    """All findings, prompt by prompt."""
    return [finding for prompt in prompts for finding in await lint_prompt(pool, prompt)]


async def lint_prompt(pool: Jobs, prompt: Prompt) -> list[PromptFinding]:
    """What is wrong with one version of a prompt."""
    source = _Source(prompt)
    analysed = await pool.analyse(source.job)
    found = [_placed(prompt, source, each) for each in analysed.found]
    read: dict[str, PromptFinding] = {}
    for number, names in enumerate(analysed.variables):
        for name, (line, column) in names.items():
            message = f"{name!r} is no argument of the prompt; declare it or set it in the template"
            each = Found(number, line, column, "undeclared-variable", message)
            read.setdefault(name, _placed(prompt, source, each))
    declared = [argument.name for argument in prompt.arguments]
    found += [finding for name, finding in read.items() if name not in declared]
    unused = [] if analysed.found else [name for name in declared if name not in read]
    return [*found, *_about(prompt, unused)]


def lint_collection(collection: Collection) -> Iterator[PromptFinding]:
    """What is wrong with the choice of versions."""
    for name, version in collection.serve.items():
        if collection.version(name, version) is None:
            what = f"serve names version {version}, which is not there; nothing of {name!r} is served"
            yield PromptFinding(
                prompt=name, version=version, rule="unknown-version", message=what, where=f"serve.{name}"
            )


def _placed(prompt: Prompt, source: _Source, found: Found) -> PromptFinding:
    where, column = source.places[found.template][0], found.column
    if found.template in source.expressions and found.line == 1 and column:
        column = max(1, column - COLUMN_OF_EXPRESSION)
    return PromptFinding(
        prompt=prompt.name,
        version=prompt.version,
        severity=found.severity,
        rule=found.rule,
        message=found.message,
        where=where,
        line=found.line,
        column=column,
    )


def _about(prompt: Prompt, unused: Sequence[str]) -> Iterator[PromptFinding]:
    """What the prompt itself says, or does not."""

    def finding(
        rule: str, message: str, where: str, severity: Literal["error", "warning"] = "warning"
    ) -> PromptFinding:
        return PromptFinding(
            prompt=prompt.name, version=prompt.version, rule=rule, message=message, where=where, severity=severity
        )

    if not prompt.description:
        yield finding("missing-description", "the prompt has no description; clients show it to people", "description")
    for number, argument in enumerate(prompt.arguments):
        where = f"arguments[{number}]"
        if not argument.description:
            yield finding("missing-description", f"the argument {argument.name!r} has no description", where)
        if argument.name in unused:
            what = f"no template reads the argument {argument.name!r}; use it or remove it"
            yield finding("unused-argument", what, where)
        if problem := schema_problem(argument):
            yield finding("bad-schema", problem, where, "error")
        if argument.required and "default" in argument.json_schema:
            what = f"the argument {argument.name!r} is required and has a default, which is never used"
            yield finding("argument-mismatch", what, where)
    yield from _about_tests(prompt)


def _about_tests(prompt: Prompt) -> Iterator[PromptFinding]:
    known = {argument.name for argument in prompt.arguments}
    needed = {argument.name for argument in prompt.arguments if argument.required}
    for number, case in enumerate(prompt.tests):
        if case.error:
            continue
        wrong = [f"does not give {name!r}, which is required" for name in sorted(needed - case.arguments.keys())]
        wrong += [f"gives {name!r}, which is no argument" for name in sorted(case.arguments.keys() - known)]
        for what in wrong:
            yield PromptFinding(
                prompt=prompt.name,
                version=prompt.version,
                rule="argument-mismatch",
                message=f"the test {case.name!r} {what}",
                where=f"tests[{number}]",
            )


def errors_of(findings: Iterable[PromptFinding]) -> list[PromptFinding]:
    """Those that keep a prompt from being served."""
    return [finding for finding in findings if finding.severity == "error"]
