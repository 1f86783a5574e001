"""Whatever can be declared is exported, imported elsewhere and exported again as the same bytes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as some
from transferring import document, exported, imported

from toolway_testing.gateway import StartGateway
from toolway_transfer.export_command import formatted

NAMES = some.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
TEXTS = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
HOSTS = some.sampled_from(["a.example.com", "b.example.com:8443", "[2606:4700::1111]"])
URLS = some.builds("https://{}/{}".format, HOSTS, some.from_regex(r"[a-z]{0,8}(?:\?q=[a-z]{1,4})?", fullmatch=True))
SECRETS = some.sampled_from(["sealed:hidden"])
AUTHS = some.one_of(
    some.fixed_dictionaries({"type": some.just("bearer"), "token": SECRETS}),
    some.fixed_dictionaries({"type": some.just("header"), "name": some.just("X-Key"), "value": SECRETS}),
)
WHOSE = {"visibility": some.sampled_from(["private", "team", "public"]), "description": TEXTS}


def collection(one: some.SearchStrategy[dict[str, Any]]) -> some.SearchStrategy[list[dict[str, Any]]]:
    return some.lists(one, max_size=4, unique_by=lambda value: value["name"])


UPSTREAMS = some.fixed_dictionaries(
    {
        "name": NAMES,
        "kind": some.just("http"),
        "endpoints": some.lists(URLS, min_size=1, max_size=3),
        "enabled": some.just(False),
    },
    optional={
        **WHOSE,
        "auth": AUTHS,
        "headers": some.dictionaries(some.from_regex(r"X-[A-Z][a-z]{0,5}", fullmatch=True), SECRETS, max_size=3),
        "retries": some.integers(0, 5),
        "allow_private": some.booleans(),
        "timeouts": some.fixed_dictionaries(
            {}, optional={"total": some.floats(1, 900), "first_byte": some.integers(1, 900)}
        ),
    },
)
PATTERNS = some.builds("{}/{}".format, NAMES, some.sampled_from(["*", "get_*", "a.b"]))
ITEMS = some.fixed_dictionaries(
    {},
    optional={
        "alias": some.from_regex(r"[A-Za-z0-9_.-]{1,20}", fullmatch=True),
        "title": some.none() | TEXTS,
        "arguments": some.dictionaries(TEXTS, some.recursive(some.none() | some.integers(-9, 9) | TEXTS, some.lists)),
    },
)
SERVERS = some.fixed_dictionaries(
    {"name": NAMES},
    optional={
        **WHOSE,
        "instructions": some.none() | TEXTS,
        "access": some.sampled_from(["public", "authenticated"]),
        "include": some.lists(PATTERNS, max_size=3),
        "items": some.dictionaries(PATTERNS, ITEMS, max_size=3),
    },
)
CONFIGURATIONS = some.builds(document, upstreams=collection(UPSTREAMS), servers=collection(SERVERS))


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_any_configuration_comes_through_unchanged(gateway: StartGateway, tmp_path: Path) -> None:
    gates = [await gateway(enable=["transfer"], data_dir=tmp_path / name) for name in ("first", "second")]
    loop = asyncio.get_running_loop()

    async def check(file: dict[str, Any]) -> None:
        exports, objects = list[dict[str, Any]](), file["objects"]
        for gate in gates:
            whole = document(**{"servers": [], "upstreams": [], **objects})
            report = await imported(gate, whole, mode="replace", trusted=True)
            assert report["outcome"] == "done", report
            exports.append(await exported(gate))
            objects = exports[-1]["objects"]
        assert formatted(exports[0]) == formatted(exports[1])
        for kind, ours in file["objects"].items():
            names = [one["name"] for one in exports[0]["objects"].get(kind, [])]
            assert names == sorted(one["name"] for one in ours)

    @settings(max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(CONFIGURATIONS)
    def every(file: dict[str, Any]) -> None:
        asyncio.run_coroutine_threadsafe(check(file), loop).result(120)

    await asyncio.to_thread(every)
