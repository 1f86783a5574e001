"""`toolway prompts …`: on files without a gateway, or on a collection of one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote

import typer

from toolway.hookspecs.commands import Terminal, names

if TYPE_CHECKING:
    from toolway_prompts.offline import Desk

app = typer.Typer(no_args_is_help=True, help="Prompts: look for mistakes, render, compare and test them.")

Target = Annotated[
    str,
    typer.Argument(help="A directory of prompts or one file; with --live the name of a collection.", metavar="WHERE"),
]
Live = Annotated[bool, typer.Option("--live", help="WHERE is a collection of the gateway.")]
Only = Annotated[str, typer.Option("--prompt", "-p", help="Only this prompt.", metavar="NAME")]
Name = Annotated[str, typer.Argument(help="The prompt's name.", metavar="PROMPT")]
Given = Annotated[
    list[str] | None,
    typer.Option("--arg", "-a", help="An argument; =@file reads it from there, :=1 is JSON.", metavar="NAME=VALUE"),
]

FINDINGS = ("file", "line", "column", "prompt", "where", "version", "severity", "rule", "message")
RESULTS = ("prompt", "version", "test", "passed", "problems")

Found = TypeVar("Found")


@app.command("list")
def list_prompts(context: typer.Context) -> None:
    """List the prompts of all collections of the gateway, in all versions."""
    terminal: Terminal = context.obj
    rows = [
        {"collection": each["name"], "managed_by": each["meta"]["managed_by"], **prompt}
        for each in terminal.pages("/prompt-collections")
        for prompt in each["prompts"]
    ]
    terminal.show("prompts", rows, ("collection", "name", "version", "description", "managed_by"))


@app.command()
def lint(
    context: typer.Context,
    target: Target,
    live: Live = False,
    prompt: Only = "",
    strict: Annotated[bool, typer.Option("--strict", help="Warnings fail too.")] = False,
) -> None:
    """Look for mistakes in prompts; ends with 1 if there are errors."""
    terminal: Terminal = context.obj
    if live:
        report = terminal.api("GET", f"{_path(target)}/lint{_query(prompt)}")
    else:
        report = _offline(target, lambda desk: desk.lint(prompt))
    terminal.show("findings", report["findings"], FINDINGS)
    terminal.note(f"{report['errors']} errors, {report['warnings']} warnings")
    if report["errors"] or (strict and report["warnings"]):
        raise typer.Exit(1)


@app.command()
def preview(
    context: typer.Context,
    target: Target,
    prompt: Name,
    words: Annotated[list[str] | None, typer.Argument(help="Arguments.", metavar="[NAME=VALUE]...")] = None,
    arguments: Given = None,
    version: Annotated[int | None, typer.Option(help="Default: the one that is served.")] = None,
    live: Live = False,
) -> None:
    """Render a prompt with sample arguments."""
    terminal: Terminal = context.obj
    given = _arguments([*(words or ()), *(arguments or ())])
    if live:
        body = {"prompt": prompt, "version": version, "arguments": given}
        found = terminal.api("POST", f"{_path(target)}/preview", body)
    else:
        found = _offline(target, lambda desk: desk.preview(prompt, version, given))
    if _wants_json(context):
        terminal.print(found)
    else:
        from toolway_prompts.comparing import shown

        terminal.note(f"{found['prompt']} version {found['version']}: {found['description']}")
        typer.echo(shown(found["messages"]))


@app.command()
def diff(
    context: typer.Context,
    target: Target,
    prompt: Name,
    old: Annotated[int, typer.Argument(help="One version.")],
    new: Annotated[int | None, typer.Argument(help="The other one; default: the one that is served.")] = None,
    arguments: Given = None,
    live: Live = False,
) -> None:
    """Compare two versions: what is written, and with --arg what is rendered; ends with 1 if they differ."""
    terminal: Terminal = context.obj
    given = _arguments(arguments) if arguments is not None else None
    if live:
        body = {"prompt": prompt, "old": old, "new": new, "arguments": given}
        found = terminal.api("POST", f"{_path(target)}/diff", body)
    else:
        found = _offline(target, lambda desk: desk.diff(prompt, old, new, given))
    if _wants_json(context):
        terminal.print(found)
    else:
        typer.echo("\n\n".join(part for part in (found["source"], found["rendered"]) if part))
    if found["source"] or found["rendered"]:
        raise typer.Exit(1)


@app.command("test")
def run_tests(context: typer.Context, target: Target, live: Live = False, prompt: Only = "") -> None:
    """Run the tests that are stored with prompts; ends with 1 if one fails."""
    terminal: Terminal = context.obj
    if live:
        report = terminal.api("POST", f"{_path(target)}/test{_query(prompt)}")
    else:
        report = _offline(target, lambda desk: desk.test(prompt))
    terminal.show("tests", report["results"], RESULTS)
    terminal.note(f"{report['passed']} passed, {report['failed']} failed")
    if report["failed"]:
        raise typer.Exit(1)


@app.command()
def push(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="A directory of prompts.")],
    collection: Annotated[
        str, typer.Argument(help="The name of the collection.", autocompletion=names("/prompt-collections"))
    ],
) -> None:
    """Make a collection of the gateway what a directory is; refused if a prompt in it has errors."""
    from toolway_prompts.offline import read_collection

    terminal: Terminal = context.obj
    prompts = [each.model_dump(mode="json", exclude_defaults=True) for each in read_collection(str(directory))]
    answer = terminal.api("PUT", _path(collection), {"name": collection, "prompts": prompts})
    terminal.print(answer["meta"])
    terminal.note(f"{collection} has {len(prompts)} prompts now")


def _wants_json(context: typer.Context) -> bool:
    """Whether `--json` was typed: then the answer is printed as it is, and else for people."""
    return bool(context.find_root().params.get("json"))


def _path(collection: str) -> str:
    return f"/prompt-collections/{quote(collection, safe='')}"


def _query(prompt: str) -> str:
    return f"?prompt={quote(prompt, safe='')}" if prompt else ""


def _offline(target: str, work: Callable[[Desk], Awaitable[Found]]) -> Found:
    """Do it here, with workers of our own."""
    from toolway_prompts.offline import at_desk

    return asyncio.run(at_desk(target, work))


def _arguments(given: Sequence[str] | None) -> dict[str, Any]:
    """`name=value`, as clients send them; `name:=json` for other values than text."""
    from toolway_prompts.offline import read_text

    found: dict[str, Any] = {}
    for each in given or ():
        name, is_given, value = each.partition("=")
        if not is_given:
            raise typer.BadParameter(f"{each!r} is no argument; write NAME=VALUE", param_hint="--arg")
        if name.endswith(":"):
            try:
                found[name[:-1]] = json.loads(value)
            except json.JSONDecodeError:
                raise typer.BadParameter(f"{value!r} is no JSON", param_hint="--arg") from None
        else:
            found[name] = read_text(value[1:]) if value.startswith("@") else value
    return found
