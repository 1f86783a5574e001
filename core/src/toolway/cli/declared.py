"""Objects of all collections as files: `toolway get` writes them, `toolway apply` makes the gateway have them."""

from __future__ import annotations

import http
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from toolway.cli.client import FAILED, NOT_FOUND, WRONG_USE, Client, Failure, client
from toolway.cli.show import as_json, note, show

Objects = dict[str, dict[str, Any]]
"""Objects by name."""

Given = Annotated[
    list[str] | None, typer.Argument(metavar="[KIND[/NAME]]...", help="Collections or single objects; default: all.")
]
Files = Annotated[
    list[str], typer.Option("--file", "-f", help="A JSON or TOML file, a directory of them, or - for JSON from stdin.")
]


def get(what: Given = None) -> None:
    """Print objects as JSON that `toolway apply` takes.

    Credentials are references or hidden; applied again to the gateway that has them, hidden ones stay as they are.
    """
    api = client()
    known = collections(api)
    found: dict[str, list[dict[str, Any]]] = {}
    for each in what or known:
        kind, _, name = each.partition("/")
        _expect(kind, known)
        found.setdefault(kind, []).extend([api.api("GET", _path(kind, name))] if name else api.pages(f"/{kind}"))
    as_json({kind: [_declared(one) for one in objects if _is_ours(one)] for kind, objects in found.items()})


def apply(
    file: Files,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what the collections of the files have and the files do not.")
    ] = False,
) -> None:
    """Make the gateway have the objects of files, and change nothing else.

    A file has the tables of the configuration, `[[upstreams]]`, `[[servers]]` and so on for every collection, as TOML
    or as JSON. All files are read before anything changes; objects that need others are put after them.
    """
    api = client()
    wanted = _read(file)
    known = collections(api)
    for kind in wanted:
        _expect(kind, known)
    before = {kind: {one["name"]: one for one in api.pages(f"/{kind}")} for kind in wanted}
    done = list((_compared if dry_run else _put)(api, wanted, before))
    if prune:
        done += _pruned(api, wanted, before, dry_run=dry_run)
    show("objects", done, ("kind", "name", "action", "reason"))
    if any(row["action"] == "failed" for row in done):
        raise typer.Exit(FAILED)


def collections(api: Client) -> list[str]:
    """What the gateway has collections of, so that objects can be put into them."""
    paths = api.api("GET", "/openapi.json")["paths"]
    return [
        path.removeprefix("/api/v1/")
        for path, methods in paths.items()
        if "get" in methods and "put" in paths.get(f"{path}/{{name}}", ()) and "post" in methods
    ]


def _expect(kind: str, known: Sequence[str]) -> None:
    if kind not in known:
        raise Failure(f"there are no {kind!r}; the gateway has {', '.join(known)}", NOT_FOUND)


def _path(kind: str, name: str) -> str:
    return f"/{kind}/{quote(name, safe='')}"


def _is_ours(shown: Mapping[str, Any]) -> bool:
    return bool(shown["meta"]["managed_by"] != "file")


def _declared(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if key != "meta"}


# ------------------------------------------------------------------------------------------------------------ files


def _read(files: Iterable[str]) -> dict[str, Objects]:
    """The objects of all files by collection and name."""
    wanted: dict[str, Objects] = {}
    for source, content in _contents(files):
        if not isinstance(content, dict) or not all(isinstance(each, list) for each in content.values()):
            raise Failure(f'{source} is not of the form {{"upstreams": [{{"name": …}}, …], …}}', WRONG_USE)
        for kind, objects in content.items():
            for one in objects:
                _add(wanted.setdefault(kind, {}), one, f"{source}: {kind}")
    return wanted


def _add(objects: Objects, one: Any, where: str) -> None:
    name = one.get("name") if isinstance(one, dict) else None
    if not isinstance(name, str):
        raise Failure(f"{where} has an object without a name", WRONG_USE)
    if name in objects:
        raise Failure(f"{where} has {name!r} for the second time", WRONG_USE)
    objects[name] = _declared(one)


def _contents(files: Iterable[str]) -> Iterator[tuple[str, Any]]:
    for given in files:
        path = Path(given)
        if given == "-":
            yield "standard input", _decoded("standard input", sys.stdin.read(), is_toml=False)
        elif path.is_dir():
            yield from _contents(str(each) for each in sorted(path.iterdir()) if each.suffix in (".json", ".toml"))
        else:
            yield given, _decoded(given, _text(path), is_toml=path.suffix == ".toml")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path} cannot be read: {getattr(error, 'strerror', error)}", WRONG_USE) from None


def _decoded(source: str, text: str, *, is_toml: bool) -> Any:
    try:
        return tomllib.loads(text) if is_toml else json.loads(text)
    except ValueError as error:
        raise Failure(f"{source} is not {'TOML' if is_toml else 'JSON'}: {error}", WRONG_USE) from None


# ---------------------------------------------------------------------------------------------------------- changes


def _row(kind: str, name: str, action: str, reason: str = "") -> dict[str, str]:
    return {"kind": kind, "name": name, "action": action, "reason": reason}


def _put(api: Client, wanted: Mapping[str, Objects], before: Mapping[str, Objects]) -> Iterator[dict[str, str]]:
    """Put them in rounds: what is refused is tried again as long as others come in, for it may need those."""
    left = [(kind, name) for kind, objects in wanted.items() for name in objects]
    while left:
        refused: list[tuple[str, str, Failure]] = []
        for kind, name in left:
            try:
                now = api.api("PUT", _path(kind, name), wanted[kind][name])
            except Failure as failure:
                refused.append((kind, name, failure))
            else:
                yield _row(kind, name, _action(before[kind].get(name), now))
        if len(refused) == len(left):
            yield from (_row(kind, name, "failed", str(failure)) for kind, name, failure in refused)
            return
        left = [(kind, name) for kind, name, _ in refused]


def _action(old: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    if old is None:
        return "created"
    return "unchanged" if old["meta"]["revision"] == now["meta"]["revision"] else "changed"


def _compared(api: Client, wanted: Mapping[str, Objects], before: Mapping[str, Objects]) -> Iterator[dict[str, str]]:
    """What putting them would do, as far as what the gateway shows tells; it does not show credentials."""
    for kind, objects in wanted.items():
        for name, one in objects.items():
            old = before[kind].get(name)
            different = [key for key, value in one.items() if old is not None and old.get(key) != value]
            if old is None:
                yield _row(kind, name, "would create")
            elif different:
                yield _row(kind, name, "would change", ", ".join(different))
            else:
                yield _row(kind, name, "unchanged")


def _pruned(
    api: Client, wanted: Mapping[str, Objects], before: Mapping[str, Objects], *, dry_run: bool
) -> Iterator[dict[str, str]]:
    for kind, objects in before.items():
        for name, one in objects.items():
            if name in wanted[kind] or not _is_ours(one):
                continue
            try:
                if not dry_run:
                    api.api("DELETE", _path(kind, name))
            except Failure as failure:
                yield _row(kind, name, "failed", str(failure))
            else:
                yield _row(kind, name, "would remove" if dry_run else "removed")


def request(
    method: Annotated[str, typer.Argument(help="GET, POST, PUT or DELETE.")],
    path: Annotated[str, typer.Argument(help="Below /api/v1, such as /upstreams?limit=10.")],
    data: Annotated[str | None, typer.Option("--data", "-d", help="The JSON body, @FILE, or @- for stdin.")] = None,
) -> None:
    """Send one request to the admin API and print the answer.

    The API describes itself: `toolway api get /openapi.json`.
    """
    if method.upper() not in http.HTTPMethod.__members__:
        raise Failure(f"{method!r} is no HTTP method; use GET, POST, PUT or DELETE", WRONG_USE)
    body = None
    if data is not None:
        is_file = data.startswith("@")
        source = data[1:] if is_file else "the value of --data"
        text = data if not is_file else sys.stdin.read() if source == "-" else _text(Path(source))
        body = _decoded(source, text, is_toml=False)
    answer = client().api(method.upper(), "/" + path.removeprefix("/api/v1").lstrip("/"), body)
    if answer is None:
        note("done")
    else:
        as_json(answer)
