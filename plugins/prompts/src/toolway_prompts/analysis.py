"""Reads templates without rendering them: syntax, names that do not exist, and what the sandbox would refuse."""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator
from jinja2.meta import TrackingCodeGenerator

from toolway_prompts.jobs import Found
from toolway_prompts.places import PlacingLexer, column_of
from toolway_prompts.sandbox import PromptEnvironment
from toolway_prompts.vocabulary import CALLED, FUNCTIONS

LOADING = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
Variables = dict[str, tuple[int, int]]


class LintEnvironment(PromptEnvironment):
    """The same environment, whose lines know their columns."""

    _placing: PlacingLexer | None = None

    @property
    def lexer(self) -> PlacingLexer:
        """See `PlacingLexer`."""
        if self._placing is None:
            self._placing = PlacingLexer(self)
        return self._placing


class _Names(TrackingCodeGenerator):
    """Finds the variables that a template reads and nothing in it sets."""


def analysed(environment: PromptEnvironment, source: str, template: int) -> tuple[list[Found], Variables]:
    """What is wrong with one template, and which variables it reads."""
    try:
        tree = environment.parse(source)
        found = list(refusals(environment, tree, template))
        if found:
            return found, {}
        environment.compile(tree)  # takes longest; and finds what only the compiler knows
        return [], _undeclared(tree)
    except TemplateSyntaxError as error:
        return [syntax_error(error, template)], {}


def syntax_error(error: TemplateSyntaxError, template: int) -> Found:
    """What Jinja says."""
    return Found(template, int(error.lineno), column_of(error.lineno), "syntax", error.message or "is no template")


def refusals(environment: PromptEnvironment, tree: nodes.Template, template: int) -> Iterator[Found]:
    """Everything that cannot be used in prompts."""

    def found(node: nodes.Node, rule: str, message: str) -> Found:
        return Found(template, int(node.lineno), column_of(node.lineno), rule, message)

    for filtered in tree.find_all(nodes.Filter):
        if filtered.name not in environment.filters:
            yield found(filtered, "unknown-filter", f"there is no filter {filtered.name!r}")
    for tested in tree.find_all(nodes.Test):
        if tested.name not in environment.tests:
            yield found(tested, "unknown-test", f"there is no test {tested.name!r}")
    for loading in tree.find_all(LOADING):
        yield found(loading, "unsafe", "a prompt cannot load other templates")
    for name, node in _internal(tree):
        yield found(node, "unsafe", f"{name!r} is internal: names that begin with an underscore are not available")
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and call.node.attr not in CALLED:
            yield found(call, "unsafe", f"the method {call.node.attr!r} is not available in prompts")


def _internal(tree: nodes.Template) -> Iterator[tuple[str, nodes.Node]]:
    for attribute in tree.find_all(nodes.Getattr):
        if attribute.attr.startswith("_"):
            yield attribute.attr, attribute
    for name in tree.find_all(nodes.Name):
        if name.name.startswith("__"):
            yield name.name, name
    for member in tree.find_all(nodes.Getitem):
        key = member.arg
        if isinstance(key, nodes.Const) and isinstance(key.value, str) and key.value.startswith("_"):
            yield key.value, member


def _undeclared(tree: nodes.Template) -> Variables:
    """As `jinja2.meta.find_undeclared_variables`, with the place where each is read first."""
    generator: CodeGenerator = _Names(tree.environment)  # type: ignore[arg-type]
    generator.visit(tree)
    names: set[str] = generator.undeclared_identifiers - FUNCTIONS  # type: ignore[attr-defined]
    places: Variables = {}
    for name in tree.find_all(nodes.Name):
        if name.name in names and name.name not in places:
            places[name.name] = int(name.lineno), column_of(name.lineno)
    return places
