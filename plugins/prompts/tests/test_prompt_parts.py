"""Definitions, arguments, files and versions, without a gateway."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings, strategies as st
from prompt_samples import prompt, written
from pydantic import ValidationError

from toolway.plugin import InvalidInput
from toolway_prompts.arguments import completed, read_arguments, schema_problem
from toolway_prompts.comparing import source_difference
from toolway_prompts.files import read_file, read_files
from toolway_prompts.jobs import Render
from toolway_prompts.library import Library
from toolway_prompts.linting import lint_prompt
from toolway_prompts.pool import Bounds, Pool, TemplateRefused
from toolway_prompts.prompt import Collection, Prompt

PIECES = "{{ }} {% %} {%- -%} if endif for in endfor x items | upper join . ( ) [ ] ~ + * 9 'a' loop set macro".split()  # noqa: SIM905


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[Pool]:
    made = Pool(Bounds(), 1)
    yield made
    await made.close()


def with_argument(**schema: Any) -> Prompt:
    return Prompt.model_validate({**prompt(), "arguments": [{"name": "who", "json_schema": schema}]})


BRANCH = {"$ref": "#/$defs/Tree"}
TREE = {"$defs": {"Tree": {"type": "object", "properties": {"left": BRANCH, "right": BRANCH}}}, **BRANCH}


def chain(length: int, word: str = "$ref") -> dict[str, Any]:
    """Each definition is made of three times the next one."""
    names = [{word: f"#/$defs/T{number}"} for number in range(length + 1)]
    parts = {f"T{number}": {"allOf": [names[number + 1]] * 3} for number in range(length)}
    return {"$defs": {**parts, f"T{length}": {"type": "string"}}, **names[0]}


@pytest.mark.parametrize(
    ("schema", "sent", "value"),
    [
        ({"type": "string"}, "7", "7"),
        ({"type": "integer"}, "7", 7),
        ({"type": "number"}, "7.5", 7.5),
        ({"type": "boolean"}, "True", True),
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]", [1, 2]),
        ({"type": "object"}, '{"a": 1}', {"a": 1}),
        ({"type": ["integer", "null"]}, "null", None),
        ({"type": "integer"}, 7, 7),
    ],
)
def test_an_argument_is_read_as_the_type_of_its_schema(schema: dict[str, Any], sent: Any, value: Any) -> None:
    assert read_arguments(with_argument(**schema), {"who": sent}) == ({"who": value}, ())


@pytest.mark.parametrize(
    ("schema", "sent"),
    [
        ({"type": "integer"}, "seven"),
        ({"type": "integer", "maximum": 5}, "7"),
        ({"pattern": "^(a+)+$"}, "a" * 5000 + "b"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "x"),
        ({"$ref": "file:///etc/passwd"}, "x"),
        ({"type": "array"}, "[" * 100_000),
        (TREE, {"left": {"left": {"left": {}}}, "right": "x"}),
        (chain(40), "{}"),
        ({"type": "string"}, "x" * 300_000),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(schema: dict[str, Any], sent: Any) -> None:
    with pytest.raises(InvalidInput, match=r"who|larger than"):
        read_arguments(with_argument(**schema), {"who": sent})


def test_a_schema_with_references_can_be_used_unless_they_are_many() -> None:
    def problem(schema: dict[str, Any]) -> str:
        return schema_problem(with_argument(**schema).arguments[0])

    assert problem({**TREE, "default": {"left": {}, "right": {}}}) == ""
    assert problem({**TREE, "default": 1}).endswith("cannot be used: see the schema")
    for word in ("$ref", "$dynamicRef"):
        assert problem(chain(40, word)).endswith("cannot be used: it has more than 8 references")


def test_defaults_and_absent_arguments_are_told_apart() -> None:
    many = Prompt.model_validate(
        {**prompt(), "arguments": [{"name": "a", "json_schema": {"default": 1}}, {"name": "b"}]}
    )

    assert read_arguments(many, {}) == ({"a": 1}, ("b",))
    with pytest.raises(InvalidInput, match="needs the argument 'who'"):
        read_arguments(Prompt.model_validate(prompt()), {})


def test_completion_tells_at_most_a_hundred_and_how_many_there_are() -> None:
    many = with_argument(enum=[f"n{number}" for number in range(150)])

    answer = completed(many, "who", "N")["completion"]

    assert (len(answer["values"]), answer["total"], answer["hasMore"]) == (100, 150, True)
    assert completed(with_argument(type="boolean"), "who", "f")["completion"]["values"] == ["false"]


@pytest.mark.parametrize(
    "message",
    [
        {"type": "image", "data": "????", "mime_type": "image/png"},
        {"type": "image", "data": "aGk="},
        {"type": "text", "text": "a", "uri": "x:y"},
        {"type": "resource", "uri": "x:y", "text": "a", "data": "aGk="},
        {"type": "resource_link", "uri": "x:y"},
        {"type": "video", "data": "aGk="},
        {"text": "a", "role": "system"},
    ],
)
def test_a_message_that_has_no_meaning_is_refused(message: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Prompt.model_validate({"name": "x", "messages": [message]})


def test_files_of_other_directories_cannot_be_named(tmp_path: Path) -> None:
    directory = written(tmp_path / "prompts")
    for name in ("../secret", "/etc/passwd", ".hidden", "review.md/../../x"):
        file = directory / "bad.toml"
        file.write_text(f"[[messages]]\nfile = {json.dumps(name)}")
        assert "must be the name of a file in the directory" in read_file(file).problem


def test_a_version_can_be_in_the_name_of_a_file(tmp_path: Path) -> None:
    directory = written(tmp_path / "prompts")
    (directory / "review@3.toml").write_text("[[messages]]\ntext = 'third'")
    found = [each.prompt for each in read_files(directory) if each.prompt]

    assert [(each.name, each.version) for each in found] == [("review", 1), ("review", 3)]
    assert Collection(prompts=tuple(found)).served()["review"].version == 3
    assert Collection(prompts=tuple(found), serve={"review": 1}).served()["review"].version == 1
    assert '+messages[0].text = "third"' in source_difference(*found)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_broken_file_leaves_what_is_served(pool: Pool, tmp_path: Path) -> None:
    directory = written(tmp_path / "prompts")
    library = Library("team", pool, Collection(), directory)
    await library.load()
    good = library.served["review"]

    for broken in ("[[", "[[messages]]\ntext = '{{ x'", "[[messages]]\ntext = '{{ undeclared }}'"):
        (directory / "review.toml").write_text(broken)
        await library.refresh()
        assert library.served["review"] is good and "review" in library.problems[0]
    (directory / "review.toml").write_text("[[messages]]\ntext = 'new'")
    await library.refresh()
    assert library.served["review"].messages[0].text == "new" and not library.problems
    (directory / "review.toml").unlink()
    await library.refresh()
    assert not library.served


@pytest.mark.asyncio(loop_scope="module")
async def test_what_the_linter_finds_has_a_rule_and_a_place(pool: Pool) -> None:
    messages = [
        {"text": "one\n  {{ nobody }}"},
        {"text": "{{ who|nothing }}"},
        {"text": "a\nb {{ ''.__class__ }}"},
        {"text": "{% include 'x' %}"},
        {"text": "{% if %}"},
        {"text": "{{ who }}", "when": "who and else_"},
    ]
    arguments = [{"name": "who", "required": True, "json_schema": {"type": "nothing", "default": 1}}]
    tests = [{"name": "t", "arguments": {"other": 1}}]
    bad = Prompt.model_validate({"name": "bad", "messages": messages, "arguments": arguments, "tests": tests})

    found = {(each.where, each.rule, each.line, each.column) for each in await lint_prompt(pool, bad)}

    assert found == {
        ("messages[0].text", "undeclared-variable", 2, 6),
        ("messages[1].text", "unknown-filter", 1, 8),
        ("messages[2].text", "unsafe", 2, 8),
        ("messages[3].text", "unsafe", 1, 4),
        ("messages[4].text", "syntax", 1, 7),
        ("messages[5].when", "undeclared-variable", 1, 9),
        ("description", "missing-description", 0, 0),
        ("arguments[0]", "missing-description", 0, 0),
        ("arguments[0]", "bad-schema", 0, 0),
        ("arguments[0]", "argument-mismatch", 0, 0),
        ("tests[0]", "argument-mismatch", 0, 0),
    }


@pytest.mark.asyncio(loop_scope="module")
async def test_any_template_is_rendered_or_refused(pool: Pool) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
    def collect(source: str) -> None:
        sources.add(source)

    sources: set[str] = set()
    collect()
    rules = {await _outcome(pool, source) for source in sources}

    assert rules <= {"rendered", "syntax", "failed", "unsafe", "unknown-filter", "time", "memory", "depth"}


async def _outcome(pool: Pool, source: str) -> str:
    try:
        await pool.render(Render((source,), {"x": "X", "items": [1]}))
    except TemplateRefused as refused:
        return refused.found.rule
    return "rendered"
