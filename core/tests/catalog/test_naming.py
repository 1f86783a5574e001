"""Naming policies, collisions and own URIs."""

from hypothesis import given, strategies as st

from toolway.catalog.naming import LONGEST, fit, name_items
from toolway.catalog.uris import own_uri, parse_own_uri, unexpand
from toolway.hookspecs.catalog import Collision
from toolway.hookspecs.definitions import ItemOverride, ServerSettings


def server(**settings: object) -> ServerSettings:
    return ServerSettings.model_validate({"name": "s", **settings})


def test_prefixed_names_carry_the_upstream() -> None:
    assert name_items(server(), "tool", ["a/x", "b/x"]) == ({"a/x": "a__x", "b/x": "b__x"}, [])


def test_plain_collisions_leave_both_sides_out_and_name_them() -> None:
    names, collisions = name_items(server(naming="plain"), "tool", ["b/x", "a/x", "a/y"])
    assert names == {"a/y": "y"}
    assert collisions == [Collision("s", "tool", "x", ("a/x", "b/x"), "error")]


def test_plain_collisions_can_be_prefixed() -> None:
    names, collisions = name_items(server(naming="plain", on_collision="prefix"), "prompt", ["a/x", "b/x", "b/y"])
    assert names == {"a/x": "a__x", "b/x": "b__x", "b/y": "y"}
    assert [c.resolved for c in collisions] == ["prefix"]


def test_an_alias_that_equals_another_name_is_a_collision() -> None:
    settings = server(naming="plain", items={"a/x": ItemOverride(alias="y")})
    names, collisions = name_items(settings, "tool", ["a/x", "b/y"])
    assert names == {}
    assert collisions == [Collision("s", "tool", "y", ("a/x", "b/y"), "error")]


def test_an_alias_keeps_its_name_when_the_other_side_is_prefixed() -> None:
    settings = server(naming="plain", on_collision="prefix", items={"a/x": ItemOverride(alias="y")})
    names, collisions = name_items(settings, "tool", ["a/x", "b/y"])
    assert names == {"a/x": "y", "b/y": "b__y"}
    assert [c.items for c in collisions] == [("a/x", "b/y")]


def test_two_equal_aliases_are_an_error_even_when_collisions_are_prefixed() -> None:
    aliases = {"a/x": ItemOverride(alias="n"), "b/x": ItemOverride(alias="n")}
    names, collisions = name_items(server(naming="plain", on_collision="prefix", items=aliases), "tool", aliases)
    assert names == {}
    assert collisions[-1].resolved == "error"


def test_a_prefixed_name_that_is_taken_is_reported_again() -> None:
    settings = server(naming="plain", on_collision="prefix")
    names, collisions = name_items(settings, "tool", ["a/x", "b/x", "c/a__x"])
    assert names == {"b/x": "b__x"}
    assert collisions[-1] == Collision("s", "tool", "a__x", ("a/x", "c/a__x"), "error")


def test_foreign_characters_are_replaced_and_long_names_cut_with_a_hash() -> None:
    assert fit("get/thing é") == "get_thing__"
    assert len(fit("x" * 65)) == LONGEST
    assert fit("x" * 65) != fit("x" * 66)
    assert fit("x" * 64) == "x" * 64


def test_names_that_only_the_replacement_makes_equal_stay_apart() -> None:
    names, collisions = name_items(server(), "tool", ["a/x y", "a/x_y", "a/x/y"])
    assert names["a/x_y"] == "a__x_y"
    assert len(set(names.values())) == 3
    assert collisions == []


CANONICALS = st.builds("{}/{}".format, st.sampled_from(["a", "b", "a-b"]), st.text("x_/ é.-", max_size=70))


@given(st.sets(CANONICALS, max_size=12), st.sampled_from(["prefix", "plain"]), st.sampled_from(["error", "prefix"]))
def test_every_item_has_its_own_valid_name_or_is_reported(canonicals: set[str], naming: str, on_collision: str) -> None:
    names, collisions = name_items(server(naming=naming, on_collision=on_collision), "tool", sorted(canonicals))
    assert len(set(names.values())) == len(names)
    assert all(name == fit(name) for name in names.values())
    assert canonicals - names.keys() == {i for c in collisions if c.resolved == "error" for i in c.items}


@given(st.text())
def test_an_own_uri_leads_back_to_the_original(uri: str) -> None:
    plain = uri.replace("{", "").replace("}", "")
    assert parse_own_uri(own_uri("a", plain)) == ("a", plain)


def test_other_uris_have_no_own_form() -> None:
    assert parse_own_uri("file:///x") is None
    assert parse_own_uri("toolway://") is None


def test_templates_keep_their_expressions_and_expansions_lead_back() -> None:
    assert own_uri("a", "f://x/{p}/{+q}") == "toolway://a/f%3A%2F%2Fx%2F{p}%2F{+q}"
    assert unexpand("a", "f://x/{p}/{+q}", "toolway://a/f%3A%2F%2Fx%2Fone%2Ftwo%2Ftwo/2") == "f://x/one/two%2Ftwo/2"
    assert unexpand("a", "f://x/{p}", "toolway://a/g%3A%2F%2Fx%2Fone") is None
    assert unexpand("a", "f://{p}/end", "toolway://a/f%3A%2F%2Fone") is None
    assert unexpand("a", "f://{p}", "toolway://b/f%3A%2F%2Fone") is None
