"""What the API of prompts takes and answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from toolway.hookspecs.api import NoQuery
from toolway_prompts.cases import CaseResult
from toolway_prompts.linting import PromptFinding
from toolway_prompts.prompt import Prompt, PromptName


class Body(BaseModel):
    """The manners of bodies."""

    model_config = ConfigDict(extra="forbid")


class Which(NoQuery):
    """Of which prompt; of all if none is named."""

    prompt: str = Field("", max_length=64, description="Only this prompt.")


class Draft(Body):
    """Prompts that are not stored."""

    prompts: list[Prompt] = Field(min_length=1, max_length=50, description="To be looked at; nothing is stored.")


class PreviewBody(Body):
    """What to render."""

    prompt: PromptName = Field(description="The prompt.")
    version: int | None = Field(None, description="Its version; the one that is served if none is named.")
    arguments: dict[str, Any] = Field({}, description="As a client sends them.")
    draft: Prompt | None = Field(None, description="Rendered in place of the stored prompt; nothing is stored.")


class DiffBody(Body):
    """What to compare."""

    prompt: PromptName = Field(description="The prompt.")
    old: int = Field(description="One version.")
    new: int | None = Field(None, description="The other one; the one that is served if none is named.")
    arguments: dict[str, Any] | None = Field(None, description="Compare what these make of both, too.")
    draft: Prompt | None = Field(None, description="Compared in place of the new version; nothing is stored.")


class Report(BaseModel):
    """What is wrong with prompts."""

    errors: int
    warnings: int
    findings: list[PromptFinding]

    @classmethod
    def of(cls, findings: list[PromptFinding]) -> Report:
        """With counts."""
        errors = sum(each.severity == "error" for each in findings)
        return cls(errors=errors, warnings=len(findings) - errors, findings=findings)


class Preview(BaseModel):
    """Messages as a client gets them."""

    prompt: str
    version: int
    description: str
    messages: list[dict[str, Any]]


class Diff(BaseModel):
    """Unified diffs; empty where both are the same."""

    source: str = Field(description="Of what is written.")
    rendered: str | None = Field(None, description="Of the messages, if there were arguments.")


class TestReport(BaseModel):
    """How tests went."""

    __test__ = False

    passed: int
    failed: int
    results: list[CaseResult]

    @classmethod
    def of(cls, results: list[CaseResult]) -> TestReport:
        """With counts."""
        passed = sum(each.passed for each in results)
        return cls(passed=passed, failed=len(results) - passed, results=results)
