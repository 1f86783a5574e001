"""Collecting providers: order, names, types, choice of one, and what happens when a hook fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from toolway.errors import ConfigError, PluginError
from toolway.hookspecs.attempts import Attempt, Balancer, toolway_balancers, toolway_policies
from toolway.hookspecs.auth import toolway_authorizers
from toolway.hookspecs.routing import Call, Endpoint
from toolway.hookspecs.secrets import toolway_secret_schemes
from toolway.plugin import Kernel, Plugin, Settings, hookimpl
from toolway.plugin.host import Plugins

Install = Callable[..., str]


class First:
    """A balancer of the gateway itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def pick(self, endpoints: Sequence[Endpoint], call: Call) -> Endpoint:
        return endpoints[0]

    def done(self, attempt: Attempt) -> None:
        return None


class BuiltinBalancers(Plugin[Settings]):
    @hookimpl
    def toolway_balancers(self, kernel: Kernel) -> Iterable[Balancer]:
        return [First("round-robin"), First("random")]


def plugin(hook: str, returned: str) -> str:
    return f"class P(Plugin[Settings]):\n    @hookimpl\n    def {hook}(self, kernel): {returned}\n"


def balancers(*names: str) -> str:
    return plugin("toolway_balancers", f"return [Balancer(name) for name in {names!r}]")


def load(*names: str, optional: Sequence[str] = ()) -> Plugins:
    return Plugins.load(names, optional, builtins=[BuiltinBalancers(Settings())])


def names_of(plugins: Plugins, **options: str) -> list[str]:
    return [each.name for each in plugins.provided(toolway_balancers, None, **options)]  # type: ignore[arg-type]


def test_providers_come_in_the_order_of_the_enabled_list_with_built_in_ones_last(install: Install) -> None:
    install("b", balancers("b1", "b2"))
    install("a", balancers("a1").replace("@hookimpl", "@hookimpl(tryfirst=True)"))

    assert names_of(load("b", "a")) == ["b1", "b2", "a1", "round-robin", "random"]
    assert names_of(load("a", "b")) == ["a1", "b1", "b2", "round-robin", "random"]


def test_built_in_providers_can_come_first(install: Install) -> None:
    install("a", balancers("a1"))

    assert names_of(load("a"), builtin="first") == ["round-robin", "random", "a1"]


def test_each_provider_is_tied_to_its_plugin(install: Install) -> None:
    install("a", balancers("a1"), distribution="corp-a", version="3.1")

    first, *_, last = load("a").provided(toolway_balancers, None)

    origin = first.origin
    assert (origin.name, origin.distribution, origin.version, first.name) == ("a", "corp-a", "3.1", "a1")
    assert last.builtin
    assert last.origin.distribution == "toolway"


def test_collecting_by_the_hookspec_itself_types_the_result() -> None:
    found: tuple[Balancer, ...] = load().collect(toolway_balancers, None)

    assert [each.name for each in found] == ["round-robin", "random"]


def test_the_kernel_is_handed_to_every_hook(install: Install) -> None:
    install("a", plugin("toolway_balancers", "return [Balancer(kernel)]"))

    kernel: Any = "a whole kernel"

    assert "a whole kernel" in [each.name for each in load("a").collect(toolway_balancers, kernel)]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("pass", "hook 'toolway_balancers' must return a list of Balancer, not NoneType"),
        ("return Balancer('x')", "hook 'toolway_balancers' must return a list of Balancer, not Balancer"),
        ("return 'round-robin'", "hook 'toolway_balancers' must return a list of Balancer, not str"),
        (
            "return [Balancer]",
            "hook 'toolway_balancers' returned the class Balancer, which is a class; return an instance of it",
        ),
        (
            "return [Policy('x')]",
            (
                "hook 'toolway_balancers' returned Policy, which is not a Balancer: "
                "it lacks 'done', 'pick'; add what is missing"
            ),
        ),
        (
            "return [Balancer('')]",
            "hook 'toolway_balancers' returned Balancer, whose 'name' is not a text; give it a name",
        ),
        (
            "raise OSError('no disk')",
            "hook 'toolway_balancers' failed: OSError: no disk; see its documentation or report it to its author",
        ),
    ],
)
def test_a_hook_that_gives_something_else_is_refused(install: Install, body: str, sentence: str) -> None:
    install("a", plugin("toolway_balancers", body), version="2.0")

    with pytest.raises(PluginError) as caught:
        load("a").collect(toolway_balancers, None)

    assert caught.value.message == f"plugin 'a' (toolway-a 2.0): {sentence}"


def test_an_authorizer_whose_decision_is_a_coroutine_is_refused_because_it_would_never_deny(install: Install) -> None:
    source = """
    class Authorizer(Named):
        async def decide(self, principal, action, resource): ...
        complete = True
        def visibility(self, principal, server): return ""
    class P(Plugin[Settings]):
        @hookimpl
        def toolway_authorizers(self, kernel): return [Authorizer("x")]
    """
    install("a", source)

    with pytest.raises(PluginError, match="whose 'decide' is async where Authorizer is not; write `def`"):
        load("a").collect(toolway_authorizers, None)


def test_a_generator_that_fails_halfway_is_refused(install: Install) -> None:
    install("a", plugin("toolway_balancers", "yield Balancer('x'); raise OSError('no disk')"))

    with pytest.raises(PluginError, match="hook 'toolway_balancers' failed: OSError: no disk"):
        load("a").collect(toolway_balancers, None)


def test_two_providers_with_one_name_are_refused_naming_both_plugins(install: Install) -> None:
    install("a", plugin("toolway_secret_schemes", "return [Scheme('vault')]"))
    install("b", plugin("toolway_secret_schemes", "return [Scheme('vault')]"), version="2.0")

    with pytest.raises(PluginError) as caught:
        load("a", "b").collect(toolway_secret_schemes, None)

    assert caught.value.message == (
        "plugin 'a' (toolway-a 1.0) and plugin 'b' (toolway-b 2.0) both provide "
        "a SecretScheme with the scheme 'vault'; "
        "remove one of them from plugins.enable or let it use another scheme"
    )


def test_a_plugin_cannot_shadow_a_built_in_provider(install: Install) -> None:
    install("a", balancers("random"))

    with pytest.raises(
        PluginError, match=r"plugin 'a' \(toolway-a 1.0\) and the gateway itself both provide a Balancer"
    ):
        load("a").collect(toolway_balancers, None)


def test_an_optional_plugin_whose_hook_fails_is_quarantined_and_not_asked_again(install: Install) -> None:
    source = """
    class P(Plugin[Settings]):
        @hookimpl
        def toolway_balancers(self, kernel): raise OSError("no disk")
        @hookimpl
        def toolway_policies(self, kernel): return [Policy("mine")]
    """
    install("a", source)
    plugins = load("a", optional=["a"])

    assert names_of(plugins) == ["round-robin", "random"]
    assert plugins.quarantined == ("a",)
    assert plugins.collect(toolway_policies, None) == ()


def test_the_built_in_provider_acts_when_no_plugin_offers_one() -> None:
    assert load().one(toolway_balancers, None, None).name == "round-robin"
    assert load().one(toolway_balancers, None, None, default="random").name == "random"


def test_the_only_provider_of_a_plugin_acts_by_default(install: Install) -> None:
    install("a", balancers("least"))

    assert load("a").one(toolway_balancers, None, None, default="random").name == "least"
    assert load("a").one(toolway_balancers, None, "round-robin").name == "round-robin"


def test_two_plugins_that_offer_what_only_one_can_do_need_a_choice(install: Install) -> None:
    install("a", balancers("least"))
    install("b", balancers("sticky"))

    with pytest.raises(ConfigError) as caught:
        load("a", "b").one(toolway_balancers, None, None)

    assert caught.value.message == (
        "several plugins offer what only one can do: 'least' of plugin 'a' (toolway-a 1.0) and 'sticky' of plugin 'b' "
        "(toolway-b 1.0); choose one with gateway.balancer"
    )
    assert load("a", "b").one(toolway_balancers, None, "sticky").name == "sticky"


def test_a_chosen_name_that_nothing_provides_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        load().one(toolway_balancers, None, "round-robbin")

    assert caught.value.message == (
        "gateway.balancer is 'round-robbin', which nothing provides; did you mean 'round-robin'?"
    )
