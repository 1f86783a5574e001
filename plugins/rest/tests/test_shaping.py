"""Expressions change values, within bounds of what they may cost."""

from __future__ import annotations

import time

import pytest

from toolway_rest.shaping import ShapeFailed, Shaper


@pytest.mark.parametrize(
    "expression",
    [
        *("a[?", "$[", "to_string(@)", "$..a..b", "$[?match(@.a, '(a+)+')]"),
        *("|".join(["[@,@]"] * 40), "|".join(["[@,@][]"] * 20), "$" + "[*,*]" * 9),
    ],
)
def test_expressions_that_could_cost_too_much_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|could make|are allowed"):
        Shaper(expression)


@pytest.mark.parametrize("expression", ["join('', @) | join('', [@, @, @])", "[].[@,@][].[@,@][].[@,@][]", "[][].x"])
def test_expressions_that_cost_too_much_end_soon(expression: str) -> None:
    begun = time.process_time()

    with pytest.raises(ShapeFailed):
        Shaper(expression)(["x" * 10] * 400_000)

    assert time.process_time() - begun < 4


def test_expressions_shape_values() -> None:
    value = {"items": [{"id": 1, "tags": ["a"]}, {"id": 2, "tags": []}], "next": "c"}

    assert Shaper("items[].{id: id, first: tags[0]}")(value) == [{"id": 1, "first": "a"}, {"id": 2, "first": None}]
    assert Shaper("$.items[?@.id > 1].id")(value) == [2]
    with pytest.raises(ShapeFailed):
        Shaper("length(items[0].id)")(value)
