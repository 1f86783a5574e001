"""Runs the test cases that are stored with prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, Field

from toolway.plugin import InvalidInput
from toolway_prompts.prompt import Case, Prompt
from toolway_prompts.rendering import Renderer

LONGEST_SHOWN = 400


class CaseResult(BaseModel):
    """How one test went."""

    prompt: str
    version: int
    test: str
    passed: bool
    problems: list[str] = Field(default_factory=list, description="What is not as expected; empty when it passed.")


async def run_cases(renderer: Renderer, prompts: Iterable[Prompt]) -> list[CaseResult]:
    """Run all tests of these prompts."""
    return [await _run(renderer, prompt, case) for prompt in prompts for case in prompt.tests]


async def _run(renderer: Renderer, prompt: Prompt, case: Case) -> CaseResult:
    try:
        messages = await renderer.messages(prompt, case.arguments)
    except InvalidInput as error:
        wrong = _refusal(case, error.message)
    else:
        wrong = (
            [f"is rendered, and should be refused with {case.error!r}"] if case.error else list(_wrong(case, messages))
        )
    return CaseResult(prompt=prompt.name, version=prompt.version, test=case.name, passed=not wrong, problems=wrong)


def _refusal(case: Case, message: str) -> list[str]:
    if case.error and case.error in message:
        return []
    return [f"is refused: {message}"]


def _wrong(case: Case, messages: Sequence[dict[str, Any]]) -> Iterator[str]:
    texts = list(texts_of(messages))
    if case.messages is not None and len(messages) != case.messages:
        yield f"has {len(messages)} messages, and should have {case.messages}"
    if case.texts is not None and tuple(texts) != case.texts:
        yield f"its texts are {str(texts)[:LONGEST_SHOWN]}, and should be {str(list(case.texts))[:LONGEST_SHOWN]}"
    for text in case.contains:
        if not any(text in each for each in texts):
            yield f"no message contains {text!r}"
    for text in case.excludes:
        if any(text in each for each in texts):
            yield f"a message contains {text!r}"


def texts_of(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The text of each message that has one."""
    for message in messages:
        content = message["content"]
        content = content.get("resource", content)
        if "text" in content:
            yield content["text"]
