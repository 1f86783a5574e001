"""Does the jobs of a worker: compiled templates are kept, whatever goes wrong becomes a sentence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any

from jinja2 import Template, TemplateSyntaxError, Undefined
from jinja2.environment import Template as Compiled
from jinja2.exceptions import SecurityError, TemplateRuntimeError

from toolway_prompts.analysis import LintEnvironment, Variables, analysed, refusals, syntax_error
from toolway_prompts.jobs import Analyse, Analysed, Found, Job, Outcome, Refused, Render, Rendered
from toolway_prompts.sandbox import PromptEnvironment

KEPT = 128
KEPT_CHARACTERS = 256 * 1024
LONGEST_MESSAGE = 300


class _Refusal(Exception):
    """A template cannot be used."""

    def __init__(self, found: Found) -> None:
        super().__init__(found.message)
        self.found = found


class Executor:
    """Renders and analyses; one per process."""

    def __init__(self) -> None:
        self._environment = PromptEnvironment()
        self._lint = LintEnvironment()
        self._compiled: OrderedDict[str, Template] = OrderedDict()
        self._characters = 0

    def warm_up(self) -> None:
        """Load what the first job would have to: later there may be no files to read it from."""
        sample = "{% for a in b %}{{ loop.index ~ a|upper }}{% endfor %}{{ b|tojson }}{{ c|default('') }}"
        self.run(Analyse((sample, "{{ a.__b__ }}", "{{")))
        for values in ({"b": ["x"]}, {"b": 1}, {}):
            self.run(Render((sample, "{{ 'é'.upper }}"), values, ("c",)))
        self.forget()

    def forget(self) -> None:
        """Drop the compiled templates."""
        self._compiled.clear()
        self._characters = 0

    def run(self, job: Job) -> Outcome:
        """Do it; raises MemoryError."""
        if isinstance(job, Analyse):
            return self._analysed(job)
        try:
            return Rendered(tuple(self._rendered(job)))
        except _Refusal as refusal:
            return Refused(refusal.found)

    def _analysed(self, job: Analyse) -> Analysed:
        found: list[Found] = []
        variables: list[Variables] = []
        for number, source in enumerate(job.templates):
            template = expression(source) if number in job.expressions else source
            try:
                wrong, names = analysed(self._lint, template, number)
            except RecursionError:
                wrong, names = [Found(number, 0, 0, "syntax", "is nested too deeply")], {}
            found += wrong
            variables.append(names)
        return Analysed(tuple(found), tuple(variables))

    def _rendered(self, job: Render) -> Iterator[str | None]:
        values = {**job.values, **{name: Undefined(name=name) for name in job.absent}}
        left = job.most
        for number, source in enumerate(job.templates):
            condition = job.conditions.get(number)
            if condition is not None and not self._text(expression(condition), values, number, 1):
                yield None
                continue
            text = self._text(source, values, number, left)
            left -= len(text)
            yield text

    def _text(self, source: str, values: dict[str, Any], number: int, most: int) -> str:
        try:
            return self._joined(self._template(source, number), values, number, most)
        except _Refusal:
            raise
        except TemplateSyntaxError as error:
            raise _Refusal(syntax_error(error, number)) from None
        except SecurityError as error:
            raise _Refusal(Found(number, _line(error.__traceback__), 0, "unsafe", _said(error))) from None
        except RecursionError as error:
            raise _Refusal(Found(number, _line(error.__traceback__), 0, "depth", "is nested too deeply")) from None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a template does wrong is told
            raise _Refusal(Found(number, _line(error.__traceback__), 0, "failed", _said(error))) from None

    def _joined(self, template: Template, values: dict[str, Any], number: int, most: int) -> str:
        parts: list[str] = []
        context = template.new_context(values)
        for part in template.root_render_func(context):
            most -= len(part)
            if most < 0:
                raise _Refusal(Found(number, 0, 0, "output", "makes more text than a prompt may have"))
            parts.append(part)
        return "".join(parts)

    def _template(self, source: str, number: int) -> Template:
        known = self._compiled.get(source)
        if known is not None:
            self._compiled.move_to_end(source)
            return known
        environment = self._environment
        tree = environment.parse(source)
        for found in refusals(environment, tree, number):
            raise _Refusal(found)
        code: Any = environment.compile(tree)
        made = Compiled.from_code(environment, _checked(code), environment.make_globals(None))
        self._compiled[source] = made
        self._characters += len(source)
        while len(self._compiled) > 1 and (len(self._compiled) > KEPT or self._characters > KEPT_CHARACTERS):
            self._characters -= len(self._compiled.popitem(last=False)[0])
        return made


def _checked(code: Any) -> CodeType:
    if not isinstance(code, CodeType):
        raise TypeError("is no template")
    return code


def expression(source: str) -> str:
    """A template that makes one character if an expression is true; columns are one line below."""
    return "{% if (" + source + ") %}1{% endif %}"


def _line(traceback: TracebackType | None) -> int:
    """The line of the template that an exception comes from; 0 if it is from none."""
    line = 0
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return line


def _said(error: Exception) -> str:
    """What went wrong, for the author of the template."""
    text = str(error) if isinstance(error, TemplateRuntimeError) else f"{type(error).__name__}: {error}"
    return text[:LONGEST_MESSAGE]
