"""Commands of plugins: listed by the names of their entry points, imported when one of them is typed."""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from toolway.cli.client import Failure, client
from toolway.cli.show import Progress, as_json, note, show

GROUP = "toolway.commands"
PANEL = "Commands of plugins"


class Terminal:
    """See `hookspecs.commands.Terminal`; `package` is that of the command."""

    def __init__(self, package: str = "toolway") -> None:
        self._package = package

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One request to the admin API."""
        with self._needs_plugin():
            return client().api(method, path, body)

    def pages(self, path: str, **filters: str | None) -> Iterator[dict[str, Any]]:
        """All objects of a collection."""
        with self._needs_plugin():
            yield from client().pages(path, **filters)

    def names(self, path: str, begin: str, member: str, **filters: str) -> list[str]:
        """What begins so."""
        with suppress(Failure):
            return [name for one in client().pages(path, **filters) if (name := str(one[member])).startswith(begin)]
        return []

    def download(self, path: str, write: Callable[[bytes], object]) -> None:
        """What one path of the admin API answers, however long."""
        with self._needs_plugin():
            client().download(path, write)

    def inspect(self, config: Path | None, look: Callable[[Any], Awaitable[None]]) -> list[tuple[str, str]]:
        """What is found in a configuration."""
        from toolway.cli.checking import check_configuration

        return [*check_configuration(config, look)]

    @contextmanager
    def _needs_plugin(self) -> Iterator[None]:
        """A path that is not there at all means that the gateway does not have the plugin."""
        try:
            yield
        except Failure as failure:
            if not str(failure).startswith("there is no /"):
                raise
            reason = f"the gateway has no plugin of {self._package} enabled"
            raise Failure(f"{reason} ({str(failure).partition(';')[0]})", failure.exit_code) from None

    show = staticmethod(show)
    print = staticmethod(as_json)
    note = staticmethod(note)
    progress = staticmethod(Progress)


class PluginCommand(TyperCommand):
    """Stands for the commands of a plugin until one of them is typed."""

    def __init__(self, entry_point: EntryPoint) -> None:
        self._package = entry_point.dist.name if entry_point.dist else entry_point.module
        super().__init__(entry_point.name, rich_help_panel=PANEL)
        self._entry_point = entry_point
        self._complaint = f"the command {entry_point.name!r} of {self._package}"

    def get_short_help_str(self, limit: int = 45) -> str:
        """What the command says of itself, or else its package."""
        dist = self._entry_point.dist
        self.help = _help_of(self._entry_point) or (dist.metadata["Summary"] if dist else None)
        return super().get_short_help_str(limit)

    @property
    def own(self) -> TyperGroup:
        """The commands of the plugin, imported."""
        try:
            commands = self._entry_point.load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise Failure(f"{self._complaint} cannot be imported ({reason}); reinstall the package") from error
        if not isinstance(commands, typer.Typer):
            raise Failure(f"{self._complaint} is no typer.Typer; report it to the author of the package")
        commands.rich_markup_mode = None
        return typer.main.get_group(commands)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Of the group that the entry point names; from there on it acts."""
        context = self.own.make_context(*arguments, **options)
        context.obj = Terminal(self._package)
        return context


def _help_of(entry_point: EntryPoint) -> str | None:
    """The `help` of what it names, from the source: to import every plugin takes too long."""
    package, *inner = entry_point.module.split(".")
    with suppress(ImportError, OSError, SyntaxError, ValueError):
        spec = find_spec(package)
        origin = Path(spec.origin or "") if spec else Path()
        source = origin.parent.joinpath(*inner).with_suffix(".py") if inner else origin
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            match node:
                case ast.Assign([ast.Name(name)], ast.Call(_, _, options)) if name == entry_point.attr:
                    return next((ast.literal_eval(each.value) for each in options if each.arg == "help"), None)
    return None


class Commands(TyperGroup):
    """The gateway's own commands by topic, then those of plugins; what is the gateway's cannot be replaced."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for entry_point in entry_points(group=GROUP):
            self.commands.setdefault(entry_point.name, PluginCommand(entry_point))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One section for each topic."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        topics: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            topic = str(getattr(command, "rich_help_panel", None) or "Commands")
            topics.setdefault(topic, []).append((name, command.get_short_help_str(limit)))
        for topic, rows in topics.items():
            with formatter.section(topic):
                formatter.write_dl(rows)
