"""Templates that attack: each is refused in time, with little memory, and the next prompt is rendered as ever."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from toolway.plugin import Overloaded, SessionLost
from toolway_prompts.jobs import Analyse, Render
from toolway_prompts.pool import JOBS, Bounds, Pool, TemplateRefused
from toolway_testing.polling import eventually

SECONDS, MEBIBYTES = 0.1, 64

REACHING = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' + 'ss__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ [x]|map(attribute='__class__')|list }}",
    "{{ [x]|map(attribute='upper.__self__')|list }}",
    "{{ [x]|sort(attribute='__doc__') }}",
    "{{ [x]|groupby('__class__') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ range.__init__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ x.upper.__func__ }}",
    "{% for a in [1] %}{{ loop.__class__ }}{{ loop._iterable }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m.__code__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ '%s'|format }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ x.format_map({}) }}",
    "{{ '%(x)s' % {'x': x} }}",
    "{{ x.upper }}",
    "{{ x.upper ~ '' }}",
    "{{ [x.upper]|string }}",
    "{{ range ~ '' }}",
    "{{ [1]|map('attr', '__class__')|list }}",
    "{{ [1]|select('callable')|list }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import path %}",
    "{% extends 'x' %}",
    "{{ config }}",
    "{{ request }}",
    "{% debug %}",
    "{% do x %}",
]
WRITING = [
    "{{ items.append(1) }}",
    "{{ items.clear() }}",
    "{{ thing.update({'a': 1}) }}",
    "{{ thing.setdefault('a', 1) }}",
    "{{ thing.pop('k') }}",
    "{% set thing.k = 1 %}",
    "{{ items.__setitem__(0, 1) }}",
]
EATING = [
    "{{ 'a' * 10**10 }}",
    "{{ [1] * 10**9 }}",
    "{{ 9 ** 9 ** 9 ** 9 }}",
    "{% set a = 10 ** 300 %}{{ a ** a }}",
    "{{ 'a'|center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ 'x'|indent(10**9) }}",
    "{{ range(10**9)|list }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
    "{% set n = namespace(s='ab') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}{{ n.s }}",
    "{% set n = namespace(s=[1]) %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% macro f(s, n) %}{% if n %}{{ f(s ~ s, n - 1) }}{% endif %}{% endmacro %}{{ f('abcdefgh', 60) }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ ('x' ~ '\n'|join)|replace('', 'y') }}{{ range(9999)|join('x'|replace('x', '0123456789')) * 99 }}",
    "{{ range(9999)|map('string')|join(range(9999)|join) }}",
    "{{ (range(9999)|join).replace('', range(9999)|join) }}",
    "{{ 1.5|round(10**9, 'floor') }}",
    "{{ lipsum(10**6) }}",
    "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + "[" * 20000 + " }}",
    "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "{{ 1 }}" * 9000,
    "{{ x" + "|upper" * 9000 + " }}",
    "{{ '" + "{{" * 30000,
]
VALUES: dict[str, Any] = {"x": "text", "items": [1, 2], "thing": {"k": "v"}}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def pool() -> AsyncIterator[Pool]:
    made = Pool(Bounds(), 2)
    await made.render(Render(("warm",)))
    yield made
    await made.close()


async def refused(pool: Pool, source: str) -> float:
    """How long it takes to refuse a template, in seconds by the clock; the worker ends with it, and tells its own."""
    for worker in pool._idle:
        worker.jobs = JOBS
    begun = time.perf_counter()
    with pytest.raises(TemplateRefused):
        await pool.render(Render((source,), VALUES))
    return time.perf_counter() - begun


@pytest.mark.asyncio(loop_scope="module")
async def test_every_attack_is_refused_within_100_ms_and_64_mib(pool: Pool) -> None:
    """Of processor time, which nothing else that runs here can take; by the clock if nothing else does run."""
    seconds = []
    for source in REACHING + WRITING + EATING:
        seconds.append(await refused(pool, source))
        assert (await pool.render(Render(("{{ x }}",), VALUES))).texts == ("text",)

    assert 0 < pool.most_seconds < SECONDS
    assert 0 < pool.most_memory < MEBIBYTES * 1024
    if os.getloadavg()[0] < (os.cpu_count() or 1):
        assert sorted(seconds)[len(seconds) * 9 // 10] < SECONDS


@pytest.mark.asyncio(loop_scope="module")
async def test_what_nothing_is_rendered_of_is_looked_at_within_the_same_bounds(pool: Pool) -> None:
    for source in EATING[-6:]:
        found = (await pool.analyse(Analyse((source,)))).found
        assert found and found[0].message


@pytest.mark.asyncio(loop_scope="module")
async def test_arguments_are_data_and_never_templates(pool: Pool) -> None:
    hostile = {"x": "{{ 7 * 7 }}{% include 'y' %}", "items": ["__class__"], "thing": {"_k": 1}}

    texts = (await pool.render(Render(("{{ x }} {{ items }}",), hostile))).texts

    assert texts == ("{{ 7 * 7 }}{% include 'y' %} [\"__class__\"]",)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_worker_has_no_environment_no_files_and_no_children(pool: Pool) -> None:
    worker = await pool._worker()
    await worker.do(Render(("a",)))  # one that was just made may still be giving things up
    pool._idle.append(worker)
    told = await asyncio.to_thread(Path(f"/proc/{worker.process}/limits").read_text)
    environment = await asyncio.to_thread(Path(f"/proc/{worker.process}/environ").read_text)

    limits = {line[:26].strip(): line[26:].split()[0] for line in told.splitlines()[1:]}
    assert limits["Max open files"] == limits["Max file size"] == limits["Max processes"] == "0"
    assert int(limits["Max address space"]) < 256 * 1024 * 1024
    assert environment.strip("\0") == "LC_ALL=C.UTF-8"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_good_prompt_is_rendered_in_less_than_two_milliseconds(pool: Pool) -> None:
    source = "Hello {{ x|title }}.\n{% for i in items %}- {{ loop.index }}: {{ i }}\n{% endfor %}"
    seconds = []
    for _ in range(300):
        begun = time.perf_counter()
        await pool.render(Render((source,), VALUES))
        seconds.append(time.perf_counter() - begun)

    assert sorted(seconds)[75] < 0.002


async def test_callers_that_leave_take_nothing_with_them() -> None:
    pool = Pool(Bounds(), 2)
    slow = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"
    try:
        for number in range(20):
            tasks = [asyncio.create_task(pool.render(Render((source,)))) for source in (slow, "{{ 1 }}", slow)]
            await asyncio.sleep(number / 5000)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert (await pool.render(Render((str(number),)))).texts == (str(number),)
    finally:
        await pool.close()


async def test_callers_that_leave_before_there_is_a_process_leave_none_behind() -> None:
    pool = Pool(Bounds(), 2)
    try:
        for _ in range(12):
            task = asyncio.create_task(pool.render(Render(("a",))))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: not pool._tasks, timeout=30)

        assert len(pool._idle) == 2
        assert pool._forker is not None
        forker = pool._forker._process.pid
        children = Path(f"/proc/{forker}/task/{forker}/children")
        assert len((await asyncio.to_thread(children.read_text)).split()) == 2
    finally:
        await pool.close()


async def test_a_process_that_was_killed_is_started_anew() -> None:
    pool = Pool(Bounds(), 1)
    try:
        assert (await pool.render(Render(("a",)))).texts == ("a",)
        assert pool._forker is not None
        pool._forker._process.kill()
        await pool._forker._process.wait()
        with pytest.raises(TemplateRefused):
            await pool.render(Render(("{{ ''.__class__ }}",)))
        pool._idle.pop().writer.close()
        with pytest.raises(Overloaded):
            await pool.render(Render(("b",)))
        assert (await pool.render(Render(("c",)))).texts == ("c",)
    finally:
        await pool.close()


async def test_more_text_than_allowed_is_refused_and_many_callers_wait_for_their_turn() -> None:
    pool = Pool(Bounds(), 1)
    try:
        with pytest.raises(TemplateRefused, match="more text than"):
            await pool.render(Render(("{{ 'x' * 1 if 0 else 'abcdef' }}",), most=5))
        jobs = [pool.render(Render(("{{ n }}",), {"n": n})) for n in range(50)]
        assert [each.texts for each in await asyncio.gather(*jobs)] == [(str(n),) for n in range(50)]
    finally:
        await pool.close()
    with pytest.raises(SessionLost):
        await pool.render(Render(("x",)))


@pytest.mark.asyncio(loop_scope="module")
async def test_values_are_printed_as_json_and_nothing_else_is(pool: Pool) -> None:
    templates = {
        "{{ items }}": "[1, 2]",
        "{{ thing }}": '{"k": "v"}',
        "{{ thing|tojson(2) }}": json.dumps({"k": "v"}, indent=2),
        "{{ thing.k ~ thing['k'] ~ thing.get('k') }}": "vvv",
        "{% for k, v in thing.items() %}{{ k }}={{ v }}{% endfor %}": "k=v",
        "{{ none }}{{ absent }}{{ absent|default('d') }}": "d",
        "{% if absent %}a{% else %}b{% endif %}": "b",
        "{{ items|map('string')|join('-') }}": "1-2",
        "{% set n = namespace(c=0) %}{% for i in items %}{% set n.c = n.c + i %}{% endfor %}{{ n.c }}": "3",
        "{% macro b(t) %}*{{ t }}*{% endmacro %}{{ b(x) }}": "*text*",
        "{{ x.upper().replace('T', 'D') }}": "DEXD",
        "{% for i in items %}{{ loop.cycle('a', 'b') }}{% endfor %}": "ab",
    }

    rendered = await pool.render(Render(tuple(templates), VALUES, ("absent",)))

    assert dict(zip(templates, rendered.texts, strict=True)) == templates
