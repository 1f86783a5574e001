"""Installed plugins: found by their entry points without importing any, then imported, checked and made one by one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import Distribution, EntryPoint, distributions
from textwrap import shorten
from traceback import TracebackException
from typing import Any

import msgspec
from pydantic import ValidationError

from toolway.errors import PluginError
from toolway.plugin.plugin import Plugin
from toolway.validation import problems

GROUP = "toolway.plugins"
_log = logging.getLogger("toolway.plugin")


class Origin(msgspec.Struct, frozen=True):
    """Where a plugin comes from: the distribution that brings it, and its entry point; bundled ones have none."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint | None = None

    def __str__(self) -> str:
        if self.entry_point is None:
            return "the gateway itself"
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


def installed_plugins() -> dict[str, list[Origin]]:
    """Every plugin by name; more than one value means that the name is claimed more than once.

    A distribution that cannot be read is logged and left out. Of two copies of one distribution the first on
    `sys.path` counts, as for imports.
    """
    by_distribution: dict[str, list[Origin]] = {}
    for distribution in distributions():
        if found := _plugins_of(distribution):
            by_distribution.setdefault(found[0].distribution, found)
    by_name: dict[str, list[Origin]] = {}
    for found in by_distribution.values():
        for origin in found:
            by_name.setdefault(origin.name, []).append(origin)
    return by_name


def _plugins_of(distribution: Distribution) -> list[Origin]:
    try:
        entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        return [Origin(entry.name, distribution.name, distribution.version, entry) for entry in entries]
    except Exception as error:  # noqa: BLE001 - one damaged distribution must not hide all others
        _log.warning("a distribution is unreadable and left out (%s); reinstall it", error)
        return []


def import_class(origin: Origin) -> type[Plugin[Any]]:
    """Import the entry point; raises PluginError unless it is a subclass of `Plugin`."""
    entry_point: Any = origin.entry_point
    try:
        found = entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{origin} cannot be imported: {cause(error)}; reinstall {origin.distribution} "
            f"or remove {origin.name!r} from plugins.enable"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Plugin)) or found is Plugin:
        raise PluginError(
            f"{origin}: entry point {entry_point.value!r} is not a subclass of toolway.plugin.Plugin; "
            "let it name the plugin's class"
        )
    return found


def configure(origin: Origin, plugin_class: type[Plugin[Any]], table: Mapping[str, Any], source: str) -> Plugin[Any]:
    """Check the table `[plugins.<name>]` of `source` and make the instance; raises PluginError."""
    model = plugin_class.settings_class
    try:
        settings = model.model_validate(dict(table))
    except ValidationError as error:
        sentences = "; ".join(each.sentence for each in problems(error, model, ("plugins", origin.name)))
        # `from None`: the original exception's text repeats the values, which may be secrets.
        raise PluginError(f"{origin} cannot use its settings in {source}: {sentences}") from None
    try:
        return plugin_class(settings)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{origin} failed while it was made: {cause(error)}; report it to its author") from error


def cause(error: BaseException, kernel: object = None) -> str:
    """Type and first line of an exception, for operators; at most 200 characters, without what the kernel redacts."""
    said = TracebackException.from_exception(error)  # also of one whose text cannot be made
    text = getattr(kernel, "redact", str)(f"{type(error).__name__}: {said}")
    return shorten(text.splitlines()[0], 200, placeholder=" …")  # cuts no word: it may be known to be secret later
