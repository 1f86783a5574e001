"""The steps from an installed plugin to an instance: import, check class and hooks, check the settings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import pluggy
from pydantic import ValidationError

from toolway.errors import PluginError
from toolway.hookspecs.markers import PROJECT
from toolway.plugin.discovery import Installed
from toolway.plugin.plugin import Plugin
from toolway.validation import did_you_mean, problems


def import_class(installed: Installed) -> type[Plugin[Any]]:
    """Import the entry point; it must be a subclass of `Plugin`."""
    try:
        found = installed.entry_point.load()
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{installed} cannot be imported: {cause(error)}; reinstall {installed.distribution} "
            f"or remove {installed.name!r} from plugins.enable"
        ) from error
    if not (isinstance(found, type) and issubclass(found, Plugin)) or found is Plugin:
        raise PluginError(
            f"{installed}: entry point {installed.entry_point.value!r} is not a subclass of toolway.plugin.Plugin; "
            "let it name the plugin's class"
        )
    return found


def cause(error: BaseException) -> str:
    """Type and first line of an exception, for operators; at most 200 characters."""
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return text[:200]


def configure(
    installed: Installed, plugin_class: type[Plugin[Any]], table: Mapping[str, Any], source: str
) -> Plugin[Any]:
    """Check the table `[plugins.<name>]` and make the instance."""
    settings_class = plugin_class.settings_class
    try:
        settings = settings_class.model_validate(dict(table))
    except ValidationError as error:
        found = problems(error, settings_class, ("plugins", installed.name))
        sentences = "; ".join(problem.sentence for problem in found)
        # `from None`: the original exception's text repeats the values, which may be secrets.
        raise PluginError(f"{installed} cannot use its settings in {source}: {sentences}") from None
    try:
        return plugin_class(settings)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{installed} failed while it was made: {cause(error)}; report it to its author") from error


def hooks_of(plugin_class: type) -> tuple[str, ...]:
    """Names of the hooks that a plugin class implements, in alphabetical order; nothing is run."""
    return tuple(sorted(name for name, _, options in _implementations(plugin_class) if options is not None))


def check_hooks(installed: Installed, plugin_class: type, manager: pluggy.PluginManager) -> None:
    """Refuse what pluggy accepts or half explains: typos, forgotten markers, coroutines, wrappers, arguments."""
    specs = {name: caller.spec for name, caller in vars(manager.hook).items() if getattr(caller, "spec", None)}
    for hook, attribute, options in _implementations(plugin_class):
        if options is None:
            raise PluginError(f"{installed}: method {attribute!r} is not marked; put @hookimpl above it or rename it")
        if hook not in specs:
            guess = did_you_mean(hook, specs) or "see the reference of hooks"
            raise PluginError(f"{installed} implements unknown hook {hook!r}; {guess}")
        if options.get("wrapper") or options.get("hookwrapper"):
            raise PluginError(f"{installed} wraps hook {hook!r}; hooks only register providers, so return them instead")
        _check_function(installed, plugin_class, hook, attribute, tuple(specs[hook].argnames))


def _implementations(plugin_class: type) -> Iterator[tuple[str, str, Any]]:
    """Hook name, attribute and marker options (None: looks like a hook and is not marked) of each implementation."""
    reader = pluggy.PluginManager(PROJECT)
    for attribute in dir(plugin_class):
        options = reader.parse_hookimpl_opts(plugin_class, attribute)
        if options is not None:
            yield options.get("specname") or attribute, attribute, options
        elif attribute.startswith(f"{PROJECT}_") and callable(getattr(plugin_class, attribute)):
            yield attribute, attribute, None


def _check_function(
    installed: Installed, plugin_class: type, hook: str, attribute: str, allowed: tuple[str, ...]
) -> None:
    found = inspect.getattr_static(plugin_class, attribute)
    function = getattr(found, "__func__", found)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(
            f"{installed}: hook {hook!r} is async; write `def`, and do what must be awaited in the provider it returns"
        )
    bound = [] if isinstance(found, staticmethod) else ["self"]
    signature = inspect.signature(function).replace(return_annotation=inspect.Signature.empty)
    given = list(signature.parameters.values())
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    misses_self = bool(bound) and (not given or given[0].name in allowed)
    wrong = [p for p in given[len(bound) :] if p.kind not in named or p.name not in allowed]
    if misses_self or wrong:
        expected = ", ".join([*bound, *allowed])
        raise PluginError(f"{installed}: hook {hook!r} takes ({expected}), not {signature}; change its arguments")
