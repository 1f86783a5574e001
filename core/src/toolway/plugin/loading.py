"""The steps from an installed plugin to an instance: import, check class and hooks, check the settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import pluggy
from pydantic import ValidationError

from toolway.errors import PluginError
from toolway.hookspecs.markers import PROJECT
from toolway.plugin.discovery import Origin
from toolway.plugin.plugin import Plugin
from toolway.validation import did_you_mean, problems


def import_class(origin: Origin) -> type[Plugin[Any]]:
    """Import the entry point; it must be a subclass of `Plugin`."""
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


def cause(error: BaseException) -> str:
    """Type and first line of an exception, for operators; at most 200 characters."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def configure(origin: Origin, plugin_class: type[Plugin[Any]], table: Mapping[str, Any], source: str) -> Plugin[Any]:
    """Check the table `[plugins.<name>]` and make the instance."""
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


def hooks_of(plugin_class: type) -> tuple[str, ...]:
    """Names of the hooks that a plugin class implements, in alphabetical order; nothing is run."""
    return tuple(name for name, options in _implementations(plugin_class) if options is not None)


def check_hooks(origin: Origin, plugin_class: type, specs: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse what pluggy accepts or half explains: typos, forgotten markers, coroutines, wrappers, arguments.

    `specs` are the arguments of each known hook.
    """
    for hook, options in _implementations(plugin_class):
        if options is None:
            raise PluginError(f"{origin}: method {hook!r} is not marked; put @hookimpl above it or rename it")
        if hook not in specs:
            guess = did_you_mean(hook, specs) or "see the reference of hooks"
            raise PluginError(f"{origin} implements unknown hook {hook!r}; {guess}")
        if options["wrapper"] or options["hookwrapper"]:
            raise PluginError(f"{origin} wraps hook {hook!r}; hooks only register providers, so return them instead")
        _check_function(origin, hook, getattr(plugin_class, hook), specs[hook])


def _implementations(plugin_class: type) -> Iterator[tuple[str, Any]]:
    """Each hook and its marker's options; None when it looks like a hook and is not marked."""
    reader = pluggy.PluginManager(PROJECT)
    for name in dir(plugin_class):
        options = reader.parse_hookimpl_opts(plugin_class, name)
        if options is not None or name.startswith(f"{PROJECT}_"):
            yield name, options


def _check_function(origin: Origin, hook: str, function: Any, arguments: tuple[str, ...]) -> None:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(
            f"{origin}: hook {hook!r} is async; write `def`, and do what must be awaited in the provider it returns"
        )
    signature = inspect.signature(function).replace(return_annotation=inspect.Signature.empty)
    given = [each.name for each in signature.parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    if len(given) < len(signature.parameters) or given not in (["self"], ["self", *arguments]):
        expected = ", ".join(("self", *arguments))
        raise PluginError(f"{origin}: hook {hook!r} takes ({expected}), not {signature}; change its arguments")
