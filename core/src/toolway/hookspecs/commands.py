"""What commands of plugins get: the API of a gateway and the output of the `toolway` command.

Only those that work without a gateway see a kernel, of one that is built for them and does not serve.

A package offers commands with an entry point of the group `toolway.commands`: a `typer.Typer` whose name is the
plugin's. Its functions take `context: typer.Context`; `context.obj` is a `Terminal`. Arguments that name objects are
completed by the shell with `typer.Argument(autocompletion=names("/tokens"))`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from toolway.plugin import Kernel


class Terminal(Protocol):
    """The gateway that the user chose, and the person or script in front of the command.

    A request that fails ends the command with the sentence and exit code of the `toolway` command's own; for failures
    of yours raise a `ToolwayError`.
    """

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the admin API, such as `("POST", "/tokens", {…})`; the decoded answer."""

    def pages(self, path: str, **filters: str | None) -> Iterator[dict[str, Any]]:
        """All objects of a collection, page by page."""

    def names(self, path: str, begin: str, member: str, **filters: str) -> list[str]:
        """What the objects of a collection are called that begin so; nothing when the gateway cannot be asked."""

    def download(self, path: str, write: Callable[[bytes], object]) -> None:
        """Get an answer that is no JSON document, or too long for one; `write` is called with each line of it."""

    def inspect(self, config: Path | None, look: Callable[[Kernel], Awaitable[None]]) -> list[tuple[str, str]]:
        """Build the gateway of a configuration file as `toolway check` does, for commands that act without a gateway.

        `look` is awaited with its kernel, unless it cannot be built: nothing is served, made or migrated; in place of
        a database that is not there yet, or has to be migrated first, it has an empty one. The findings of
        `toolway check`, as `error` or `warning` and a sentence.
        """

    def show(self, title: str, objects: Iterable[dict[str, Any]], columns: Sequence[str]) -> None:
        """Print objects: for people a table of these members (such as `meta.status`), for scripts all of it as JSON."""

    def print(self, value: Any) -> None:
        """Print a result as JSON."""

    def note(self, text: str) -> None:
        """Tell a person something that is not the result, on standard error."""

    def progress(self, label: str) -> AbstractContextManager[object]:
        """Show that something takes long while the context lasts."""


def names(path: str, member: str = "name", **filters: str) -> Callable[..., list[str]]:
    """Completes what the objects of a collection are called."""
    return lambda ctx, incomplete: ctx.obj.names(path, incomplete, member, **filters)
