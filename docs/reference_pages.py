"""The reference pages, made from the code whenever the documentation is built; mkdocs calls `on_files`."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from permissions_page import permissions_page

from toolway import errors
from toolway.hookspecs import (
    accounts,
    api as rest_api,
    attempts,
    auth,
    caching,
    catalog,
    commands,
    definitions,
    permissions,
    routing,
    secrets,
    serving,
    system,
    telemetry,
)

HOOK_MODULES: tuple[ModuleType, ...] = (auth, routing, attempts, secrets, caching, telemetry, system, rest_api)
MODULES = (*HOOK_MODULES, commands)
SHARED_TYPES: dict[ModuleType, tuple[ModuleType, ...]] = {
    auth: (permissions, accounts),
    routing: (definitions, catalog),
    system: (serving,),
}
MADE = "<!-- made from the code by docs/reference_pages.py -->\n\n"
LABELS = ("Called", "Used", "On error", "Since")


def on_files(files: Any, config: Any) -> Any:
    """The hook of mkdocs: add the pages to those of the folder."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Every generated page, by its path below docs/."""
    made = {
        "reference/settings.md": settings_page(),
        "reference/commands.md": commands_page(),
        "reference/errors.md": errors_page(),
        "reference/api.md": api_page(),
        "reference/permissions.md": permissions_page(),
        "reference/hooks/index.md": hooks_index(),
        **{f"reference/hooks/{_short(module)}.md": hooks_page(module) for module in MODULES},
    }
    return {path: MADE + text.rstrip() + "\n" for path, text in made.items()}


# ------------------------------------------------------------------------------------------------------------ settings


def configuration(*enable: str) -> dict[str, Any]:
    """The JSON Schema of the configuration with what a gateway with these plugins knows."""
    from toolway.cli.checking import schema_of_configuration

    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"plugins.enable = {json.dumps(enable)}\n")
        file.flush()
        return schema_of_configuration(Path(file.name))


def settings_page() -> str:
    """`toolway.toml`, table by table."""
    schema = configuration()
    tables: dict[str, str] = {}
    for name, member in schema["properties"].items():
        for heading, rows in _tables(schema, name, member):
            tables.setdefault(heading, rows)  # what all kinds of upstreams have in common is shown once
    return "\n".join([_SETTINGS_HEAD, *(heading + rows for heading, rows in tables.items())])


_SETTINGS_HEAD = """# Settings

The configuration is the file `toolway.toml`; without one, every default applies. A value may also come from the
environment, which wins over the file: `TOOLWAY_GATEWAY__BIND` is `bind` of `[gateway]`, lists and tables are written
as JSON there, and in a plugin's name `_` stands for `-`. `TOOLWAY_CONFIG` names another file, `TOOLWAY_SECRETS_DIR` a
directory with one file per such variable. Unknown keys are errors.

Secrets are written as references, never as values: `env:NAME`, `file:/path`, or another scheme that a plugin adds;
`literal:value` is for tests. `toolway check` checks all of it without starting, `toolway schema` prints the JSON
Schema with the settings of enabled plugins.
"""


def _tables(schema: Mapping[str, Any], path: str, member: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A heading and its rows; then the same for each table inside of it."""
    for label, model in _models(schema, member):
        properties: dict[str, Any] = model.get("properties", {})
        required = model.get("required", [])
        if properties:
            rows = [_row(schema, key, each, key in required) for key, each in properties.items()]
            meaning = member.get("description") or model.get("description") or ""
            head = f"\n{meaning}\n\n| key | type | default | meaning |\n|---|---|---|---|\n"
            yield f"\n## `{_title(path, member)}`{label}\n", head + "\n".join(rows) + "\n"
        for key, each in properties.items():
            yield from _tables(schema, f"{path}.{key}", each)


def _title(path: str, member: Mapping[str, Any]) -> str:
    """How the table is begun in TOML."""
    if member.get("type") == "array":
        return f"[[{path}]]"
    return f'[{path}."<name>"]' if isinstance(member.get("additionalProperties"), dict) else f"[{path}]"


def _models(schema: Mapping[str, Any], member: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The models that a member may be: label and schema; several where `kind` or `type` chooses."""
    inner = member.get("items", member) if member.get("type") == "array" else member
    if isinstance(inner.get("additionalProperties"), dict):
        inner = inner["additionalProperties"]
    for one in inner.get("oneOf") or inner.get("anyOf") or [inner]:
        if "oneOf" in one or "anyOf" in one:
            yield from _models(schema, one)
        elif "$ref" in one:
            model = schema["$defs"][one["$ref"].rpartition("/")[2]]
            yield _label(model), model


def _label(model: Mapping[str, Any]) -> str:
    """Which one of several, such as `, kind = "http"`."""
    for key in ("kind", "type"):
        constant = model.get("properties", {}).get(key, {}).get("const")
        if constant:
            return f" with `{key} = {json.dumps(constant)}`"
    return ""


_CHOOSES = {
    "kind": "Chooses this kind.",
    "type": "Chooses this type.",
    "auth": "How the gateway authenticates itself, see below.",
}


def _row(schema: Mapping[str, Any], key: str, member: Mapping[str, Any], is_required: bool) -> str:
    default = "required" if is_required else f"`{json.dumps(member.get('default'), ensure_ascii=False)}`"
    if not is_required and member.get("default") is None:
        default = ""
    meaning = member.get("description") or _CHOOSES.get(key, "")
    return f"| `{key}` | {_type(schema, member)} | {default} | {_cell(meaning)} |"


def _type(schema: Mapping[str, Any], member: Mapping[str, Any]) -> str:
    if "enum" in member or "const" in member:
        return " or ".join(f"`{json.dumps(value)}`" for value in member.get("enum", [member.get("const")]))
    if "$ref" in member:
        return _type(schema, schema["$defs"][member["$ref"].rpartition("/")[2]])
    if alternatives := member.get("anyOf") or member.get("oneOf"):
        found = [_type(schema, one) for one in alternatives if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(found))
    if member.get("type") == "array":
        return f"list of {_type(schema, member.get('items', {}))}"
    formats = {
        "secret-reference": "secret reference",
        "path": "path",
        "ipv4network": "network",
        "ipv6network": "network",
    }
    names = {"string": "text", "object": "table", "integer": "integer", "number": "number", "boolean": "true or false"}
    name = formats.get(member.get("format", "")) or names.get(member.get("type", ""), "any")
    return name + _bounds(member)


def _bounds(member: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
    found = [f"{sign} {member[key]:g}" for key, sign in signs.items() if key in member]
    return f", {', '.join(found)}" if found else ""


# ------------------------------------------------------------------------------------------------------------ commands


def typed() -> Iterator[tuple[str, Any]]:
    """Every command with its full name; groups come before their commands."""
    import typer

    from toolway.cli.app import app

    yield from _walk("toolway", typer.main.get_command(app))


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, each in getattr(command, "commands", {}).items():
        yield from _walk(f"{name} {child}", each)


def commands_page() -> str:
    """What can be typed."""
    sections = [line for name, command in typed() for line in _command(name, command)]
    return "\n".join(["# Commands\n", *sections, _EXIT_CODES])


_EXIT_CODES = """
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | the gateway or the tool reports an error, or a check found one |
| 2 | the command line cannot be used as it is |
| 3 | the gateway does not answer |
| 4 | the credential is missing, wrong or not allowed to do this |
| 5 | there is no such object |
| 6 | it exists already, changed meanwhile, or is declared in the configuration |
| 130 | ended with Ctrl-C |
"""


def _command(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if type(each).__name__.endswith("Argument")]
    options = [each for each in command.params if each not in arguments and each.name != "help" and not each.hidden]
    usage = [_argument(each) for each in arguments] + (["[OPTIONS]"] if options else [])
    usage += ["COMMAND …"] if hasattr(command, "commands") else []
    yield f"\n## `{name}`\n\n{command.help or ''}\n\n```text\n{' '.join([name, *usage])}\n```\n"
    if arguments or options:
        yield "| argument or option | meaning |\n|---|---|"
    yield from (f"| `{_argument(each)}` | {_cell(each.help or '')} |" for each in arguments)
    yield from (f"| {_option(each)} | {_cell(each.help or '')}{_default(each)} |" for each in options)


def _argument(argument: Any) -> str:
    name = argument.name.upper() + ("…" if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    value = "" if option.is_flag else f" {option.name.upper()}"
    return ", ".join(f"`{each}{value}`" for each in option.opts) + (" (may be repeated)" if option.multiple else "")


def _default(option: Any) -> str:
    return f" Default: `{option.default}`." if option.default not in (None, False, (), []) else ""


# -------------------------------------------------------------------------------------------------------------- errors


def error_classes() -> list[type[errors.ToolwayError]]:
    """Every error with a code of its own, in the order of the codes."""
    import toolway.bundled.api.problems
    import toolway.mcp.errors  # noqa: F401 - their subclasses count too

    found: dict[str, type[errors.ToolwayError]] = {}
    waiting: list[type[errors.ToolwayError]] = [errors.ToolwayError]
    while waiting:
        each = waiting.pop()
        if each.__module__.startswith("toolway."):
            found.setdefault(each.code, each)
        waiting.extend(each.__subclasses__())
    return [found[code] for code in sorted(found)]


def errors_page() -> str:
    """The codes."""
    rows = [f"| `{code}` | {status} | {_cell(detail)} |" for code, status, detail in door_refusals()]
    door = ["\n## Codes of the door\n", _DOOR, "| code | HTTP status | meaning |\n|---|---|---|", *rows]
    return "\n".join([_ERRORS_HEAD, *(_error(each) for each in error_classes()), *door])


_ERRORS_HEAD = """# Error codes

The admin API answers errors as `application/problem+json` (RFC 9457): `code` is one of these and stable, `detail`
says what went wrong and what to do next. MCP clients get JSON-RPC errors with the code in `data.code`. Unexpected
failures carry an error id that is in the log too; the text of an exception is never sent.
"""


_UNEXPECTED = "Something failed that nobody expected; the log has the reason under the error id of the answer."

_DOOR = """These end a message before anything else looks at it: it is malformed, too large, too slow or not meant
for this gateway. The connection is closed after the answer.
"""


def door_refusals() -> list[tuple[str, int, str]]:
    """Code, HTTP status and sentence of everything that the door and the server runners refuse, from their source."""
    import toolway.edge

    found: dict[str, tuple[str, int, str]] = {}
    for path in (*sorted(Path(toolway.edge.__path__[0]).glob("*.py")), Path(serving.__file__)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                values = [each.value for each in node.args[:3] if isinstance(each, ast.Constant)]
                if len(values) >= 2 and isinstance(values[0], int):
                    found.setdefault(str(values[1]), (str(values[1]), values[0], str(values[2]) if values[2:] else ""))
    return [found[code] for code in sorted(found)]


def _error(error: type[errors.ToolwayError]) -> str:
    meaning = _UNEXPECTED if error is errors.ToolwayError else _one_line(inspect.getdoc(error))
    return f"\n## `{error.code}`\n\nHTTP status {error.status}. {meaning}\n"


# --------------------------------------------------------------------------------------------------------------- hooks


def hooks(module: ModuleType) -> list[Any]:
    """The hook specifications of a module, in their order."""
    return [each for name, each in vars(module).items() if name.startswith("toolway_")]


def hooks_index() -> str:
    """All hooks on one page."""
    rows = [
        f"| [`{hook.__name__}`]({_short(module)}.md#{hook.__name__}) | {_summary(hook)} |"
        for module in HOOK_MODULES
        for hook in hooks(module)
    ]
    return "\n".join([_HOOKS_HEAD, "| hook | what it offers |\n|---|---|", *rows])


_HOOKS_HEAD = """# Hooks

A plugin is a class with methods that are marked `@hookimpl`. Each method is called once, when the gateway is built,
is not a coroutine, and returns *providers*: objects that do the work and match the Protocol of the hook. The order of
`plugins.enable` is the order of the providers. The built-in providers come through the same hooks.

[Commands](commands.md) of the `toolway` command are offered by an entry point instead.
"""


def hooks_page(module: ModuleType) -> str:
    """One module: its hooks, then the types."""
    shown = [*_types(module), *(each for other in SHARED_TYPES.get(module, ()) for each in _types(other))]
    head = f"# `toolway.hookspecs.{_short(module)}`\n\n{_one_line(inspect.getdoc(module))}\n"
    return "\n".join(
        [head, *(_hook(each) for each in hooks(module)), "\n## Types\n", *(_class(each) for each in shown)]
    )


def _types(module: ModuleType) -> list[type]:
    """The classes that the module itself defines."""
    return [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ == module.__name__]


def _hook(hook: Any) -> str:
    lines = (inspect.getdoc(hook) or "").splitlines()
    labelled = [line.partition(": ") for line in lines if line.partition(":")[0] in LABELS]
    rows = "\n".join(f"| {label} | {_cell(text)} |" for label, _, text in labelled)
    signature = f"def {hook.__name__}{_signature(hook)}: ..."
    head = f"\n## `{hook.__name__}` {{ #{hook.__name__} }}\n\n{lines[0]}\n\n```python\n{signature}\n```\n"
    return f"{head}\n| | |\n|---|---|\n{rows}\n"


def _class(each: type) -> str:
    own = [member for name, member in vars(each).items() if inspect.isfunction(member) and not name.startswith("_")]
    if "__call__" in vars(each):
        own.append(vars(each)["__call__"])
    fields = [f"{name}: {hint}" for name, hint in inspect.get_annotations(each).items()]
    block = "\n".join([f"class {each.__name__}:", *(f"    {line}" for line in fields)]) if fields else ""
    text = [f"\n### `{each.__name__}`\n", _paragraphs(each)]
    text += [f"\n```python\n{block}\n```\n"] if block else []
    return "\n".join([*text, *(_method(member) for member in own)])


def _method(method: Any) -> str:
    prefix = "async def" if inspect.iscoroutinefunction(method) else "def"
    return f"\n```python\n{prefix} {method.__name__}{_signature(method)}\n```\n\n{_paragraphs(method)}\n"


# ----------------------------------------------------------------------------------------------------------- admin API


def api() -> dict[str, Any]:
    """The OpenAPI document that a gateway without plugins serves."""
    return asyncio.run(_served_document())


async def _served_document() -> dict[str, Any]:
    import httpx2

    from toolway.app import build_gateway
    from toolway.config import Config, GatewaySettings
    from toolway.keep import Keeper

    with tempfile.TemporaryDirectory() as directory:
        config = Config(gateway=GatewaySettings(data_dir=Path(directory) / "data"))
        gateway = await build_gateway(config, Keeper().holder())
        async with gateway.running(), httpx2.AsyncClient(transport=httpx2.ASGITransport(gateway.app)) as client:
            document: dict[str, Any] = (await client.get("http://127.0.0.1/api/v1/openapi.json")).json()
            return document


def api_page() -> str:
    """Every operation."""
    document = api()
    operations = [
        (path, method, each) for path, methods in document["paths"].items() for method, each in methods.items()
    ]
    return "\n".join([_API_HEAD, *(_operation(*each) for each in operations)])


_API_HEAD = """# Admin API

A running gateway serves this description as OpenAPI 3.1 at `/api/v1/openapi.json`. Send `Authorization: Bearer
TOKEN`. Lists have pages: follow `next_cursor`. Changes answer with an `ETag`; send it back as `If-Match` so that
nobody's change is lost. Errors are described on the page of [error codes](errors.md).

A body has the shape of the table in [`toolway.toml`](settings.md): `POST /api/v1/upstreams` takes what
`[[upstreams]]` takes.
"""


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    permission = operation.get("x-permission")
    access = f"Permission `{permission}`." if permission else "Public."
    rows = [
        f"| `{each['name']}` | {each['in']} | {_cell(each.get('description', ''))} |"
        for each in operation["parameters"]
    ]
    table = ["\n| parameter | in | meaning |\n|---|---|---|", *rows] if rows else []
    answers = ", ".join(status for status in operation["responses"] if status != "default")
    head = f"\n## `{method.upper()} {path}`\n\n{operation['summary']} {access} Answers with {answers}.\n"
    return "\n".join([head, *table])


# ---------------------------------------------------------------------------------------------------------------- text


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "")


def _summary(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").split("\n")[0]


def _paragraphs(documented: Any) -> str:
    """A docstring as Markdown: its Raises become a list."""
    text = inspect.cleandoc(documented.__doc__ or "")
    body, _, raises = text.partition("\nRaises:\n")
    items = [line.strip().partition(": ") for line in raises.splitlines() if line.strip()]
    listed = "\n".join(f"- `{name}`: {meaning}" for name, _, meaning in items)
    return f"{body.strip()}\n\nRaises:\n\n{listed}" if listed else body.strip()


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")
