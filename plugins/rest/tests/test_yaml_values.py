"""YAML is read as JSON would have it, and no text can end the process or hold it up."""

from __future__ import annotations

import time

import pytest

from toolway_rest.yaml_values import read_yaml, scalar

FOLDED = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))
MERGED = "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12))
NESTED = "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 300))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[" * 100_000 + "]" * 100_000, "too deep"),
        ("- " * 100_000 + "x", "too deep"),
        (f"a0: &a0 [x, y]\n{FOLDED}", "too large"),
        (f"a0: &a0 {{x: 1, y: 2}}\n{MERGED}", "too large"),
        (f"a0: &a0 [x]\n{NESTED}", "too deep"),
        ("a: &a [*a]", "part of"),
        ("a: 1\n---\nb: 2", "more than one document"),
        ("? [a]\n: 1", "a key that is no text"),
        ("a: !!python/name:os.system ''", "a tag"),
        ("a: {<<: 1}", "a merge key"),
    ],
)
def test_what_costs_or_means_too_much_is_refused_soon(text: str, what: str) -> None:
    begun = time.process_time()

    with pytest.raises(ValueError, match=what):
        read_yaml(text.encode())

    assert time.process_time() - begun < 4


def test_a_long_number_takes_no_time() -> None:
    begun = time.process_time()

    value = read_yaml(b"a: 1" + b":1" * 200_000 + b"\nb: " + b"9" * 100_000)

    assert all(isinstance(each, str) for each in value.values())
    assert time.process_time() - begun < 4


def test_many_merge_keys_take_time_in_proportion_to_what_they_bring() -> None:
    parts = "".join(f"- &m{n} {{{', '.join(f'k{n}_{each}: 1' for each in range(100))}}}\n" for n in range(1_500))
    text = f"parts:\n{parts}whole:\n  <<: [{', '.join(f'*m{n}' for n in range(1_500))}]\n"
    begun = time.process_time()

    value = read_yaml(text.encode())

    assert len(value["whole"]) == 150_000
    assert time.process_time() - begun < 4


def test_types_are_those_of_yaml_1_2() -> None:
    text = "[no, On, true, NULL, ~, 12, -1.5e3, 010, 1:30, 2026-01-02, .inf, 1_000, 'yes', !!str 5, 0x10]"

    values = read_yaml(text.encode())

    assert values[:7] == ["no", "On", True, None, None, 12, -1500.0]
    assert values[7:] == [10, "1:30", "2026-01-02", ".inf", "1_000", "yes", "5", "0x10"]
    assert scalar("9" * 30) == 1e30


def test_aliases_and_merge_keys_are_followed() -> None:
    base = b"base: &base {type: object, title: a}\nmore: {<<: *base, title: b}"
    text = base + b"\nboth: {<<: [*base, {x: 1, type: y}]}\n200: ok"

    assert read_yaml(text) == {
        "base": {"type": "object", "title": "a"},
        "more": {"type": "object", "title": "b"},
        "both": {"type": "object", "title": "a", "x": 1},
        "200": "ok",
    }
