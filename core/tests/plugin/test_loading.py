"""Loading plugins: what is imported, and the one sentence for each way to fail."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from toolway.errors import PluginError
from toolway.hookspecs.attempts import toolway_policies
from toolway.plugin.host import Plugins

POLICY = """
class P(Plugin[Settings]):
    @hookimpl
    def toolway_policies(self, kernel): return [Policy("mine")]
"""
AUTHENTICATOR = POLICY.replace("toolway_policies", "toolway_authenticators").replace("Policy(", "Authenticator(")
Install = Callable[..., str]


def failure(name: str = "corp", **options: object) -> str:
    """What loading the one plugin says."""
    with pytest.raises(PluginError) as caught:
        Plugins.load([name], **options).refuse_broken()  # type: ignore[arg-type]
    return caught.value.message


def test_installed_is_not_enabled_and_only_enabled_plugins_are_imported(install: Install) -> None:
    wanted, unwanted = install("wanted", POLICY), install("unwanted", POLICY)

    plugins = Plugins.load(["wanted"])

    assert wanted in sys.modules
    assert unwanted not in sys.modules
    states = {info.name: info.state for info in plugins.report()}
    assert states["wanted"] == "enabled"
    assert states["unwanted"] == "installed"


def test_a_plugin_that_is_not_installed_is_refused_without_advice_to_install_what_may_be_anybodys() -> None:
    assert failure("ldap") == (
        "plugin 'ldap' is enabled in toolway.toml but not installed; "
        "install its package, or remove it from plugins.enable"
    )


def test_a_misspelt_plugin_is_refused_with_the_name_that_was_meant(install: Install) -> None:
    install("balancer", POLICY)

    assert failure("balancre") == (
        "plugin 'balancre' is enabled in toolway.toml but not installed; did you mean 'balancer'?"
    )


def test_a_plugin_that_cannot_be_imported_is_named_with_its_distribution_and_version(install: Install) -> None:
    install("corp", "import a_missing_library", distribution="corp-toolway", version="0.4")

    assert failure() == (
        "plugin 'corp' (corp-toolway 0.4) cannot be imported: "
        "ModuleNotFoundError: No module named 'a_missing_library'; "
        "reinstall corp-toolway or remove 'corp' from plugins.enable"
    )


def test_a_plugin_that_exits_while_it_is_imported_does_not_end_the_process(install: Install) -> None:
    install("corp", "raise SystemExit(3)")

    assert "cannot be imported: SystemExit: 3" in failure()


@pytest.mark.parametrize("source", ["P = 3", "class P: ...", "P = Plugin", "def P(settings): ..."])
def test_an_entry_point_that_is_not_a_plugin_class_is_refused(install: Install, source: str) -> None:
    module = install("corp", source)

    assert failure() == (
        f"plugin 'corp' (toolway-corp 1.0): entry point '{module}:P' is not a subclass of toolway.plugin.Plugin; "
        "let it name the plugin's class"
    )


def test_an_entry_point_whose_object_does_not_exist_is_refused(install: Install) -> None:
    install("corp", "", target="Missing")

    assert "cannot be imported: AttributeError" in failure()


def test_an_unknown_hook_is_refused_with_the_one_that_was_meant(install: Install) -> None:
    install("corp-auth", AUTHENTICATOR.replace("authent", "autent"), distribution="corp-toolway", version="0.4")

    assert failure("corp-auth") == (
        "plugin 'corp-auth' (corp-toolway 0.4) implements unknown hook 'toolway_autenticators'; "
        "did you mean 'toolway_authenticators'?"
    )


def test_a_method_that_looks_like_a_hook_and_is_not_marked_is_refused(install: Install) -> None:
    install("corp", AUTHENTICATOR.replace("@hookimpl", ""))

    assert failure() == (
        "plugin 'corp' (toolway-corp 1.0): method 'toolway_authenticators' is not marked; "
        "put @hookimpl above it or rename it"
    )


@pytest.mark.parametrize(
    "arguments", ["self, config", "kernel", "self, kernel, other", "self, *, kernel", "self, *a", ""]
)
def test_a_hook_with_other_arguments_is_refused(install: Install, arguments: str) -> None:
    install("corp", POLICY.replace("self, kernel", arguments))

    assert failure() == (
        "plugin 'corp' (toolway-corp 1.0): hook 'toolway_policies' takes (self, kernel), "
        f"not ({arguments}); change its arguments"
    )


def test_a_hook_may_leave_the_kernel_out(install: Install) -> None:
    install("corp", POLICY.replace("self, kernel", "self"))

    assert len(Plugins.load(["corp"]).collect(toolway_policies, None)) == 1


def test_an_async_hook_is_refused(install: Install) -> None:
    install("corp", POLICY.replace("def toolway", "async def toolway"))

    assert failure() == (
        "plugin 'corp' (toolway-corp 1.0): hook 'toolway_policies' is async; write `def`, "
        "and do what must be awaited in the provider it returns"
    )


@pytest.mark.parametrize("kind", ["wrapper=True", "hookwrapper=True"])
def test_a_hook_wrapper_is_refused(install: Install, kind: str) -> None:
    install("corp", POLICY.replace("@hookimpl", f"@hookimpl({kind})").replace("return [", "yield ["))

    assert failure() == (
        "plugin 'corp' (toolway-corp 1.0) wraps hook 'toolway_policies'; "
        "hooks only register providers, so return them instead"
    )


def test_a_wrong_setting_is_refused_with_its_path_and_without_its_value(install: Install) -> None:
    source = """
    class Limits(Settings):
        timeout: float = 1.0
    class PSettings(Settings):
        token: SecretRef
        limits: Limits = Limits()
    class P(Plugin[PSettings]): ...
    """
    install("corp", source)

    message = failure(settings={"corp": {"token": "hunter2", "limits": {"timout": 3}}})

    assert message == (
        "plugin 'corp' (toolway-corp 1.0) cannot use its settings in toolway.toml: plugins.corp.token must be a secret "
        "reference such as env:NAME or file:/path, not a value; plugins.corp.limits.timout is not a setting; "
        "did you mean 'timeout'?"
    )


def test_a_plugin_that_fails_while_it_is_made_is_refused(install: Install) -> None:
    install("corp", "class P(Plugin[Settings]):\n    def __init__(self, settings): raise ValueError('no')")

    assert failure() == (
        "plugin 'corp' (toolway-corp 1.0) failed while it was made: ValueError: no; report it to its author"
    )


def test_one_name_from_two_distributions_is_refused(install: Install) -> None:
    install("corp", POLICY, distribution="corp-one", version="1.0")
    install("corp", POLICY, distribution="corp-two", version="2.0")

    message = failure()

    assert message.startswith("plugin 'corp' is offered more than once, by corp-")
    assert "corp-one 1.0" in message
    assert "corp-two 2.0" in message
    assert message.endswith("uninstall all but one")


def test_every_broken_plugin_has_its_own_line(install: Install) -> None:
    install("one", "P = 1")
    install("two", "P = 2")

    with pytest.raises(PluginError) as caught:
        Plugins.load(["one", "two"]).refuse_broken()

    assert [line[:12] for line in caught.value.message.splitlines()] == ["plugin 'one'", "plugin 'two'"]


def test_a_distribution_with_damaged_entry_points_does_not_hide_the_others(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install("corp", POLICY)
    damaged = tmp_path / "damaged-1.0.dist-info"
    damaged.mkdir()
    (damaged / "METADATA").write_bytes(b"\xff\xfe")
    (damaged / "entry_points.txt").write_text("[toolway.plugins]\nno equals sign here\n")

    Plugins.load(["corp"])

    assert "unreadable" in caplog.text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"optional": ["metrcs"]}, "toolway.toml: plugins.optional names 'metrcs'"),
        ({"settings": {"metrcs": {}}}, "toolway.toml: the table [plugins.metrcs] is for 'metrcs'"),
    ],
)
def test_a_name_that_nothing_has_is_refused(install: Install, options: dict[str, object], sentence: str) -> None:
    install("metrics", POLICY)

    assert failure("metrics", **options) == (
        f"{sentence}, which is neither enabled nor installed; did you mean 'metrics'?"
    )


@pytest.mark.parametrize(
    "source", ["import a_missing_library", "raise SystemExit", "class P(Plugin): x = toolway_polices"]
)
def test_an_optional_plugin_that_fails_is_quarantined_logged_and_reported(
    install: Install, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    install("extra", source)

    with caplog.at_level(logging.WARNING, "toolway.plugin"):
        plugins = Plugins.load(["extra"], optional=["extra"])

    [info] = [info for info in plugins.report() if info.name == "extra"]
    assert info.state == "quarantined"
    assert info.error
    assert info.error in caplog.text
    assert plugins.quarantined == ("extra",)
    assert plugins.collect(toolway_policies, None) == ()


def test_an_optional_plugin_with_a_wrong_setting_is_quarantined(install: Install) -> None:
    install("extra", POLICY)

    plugins = Plugins.load(["extra"], ["extra"], {"extra": {"colour": "red"}})

    assert plugins.quarantined == ("extra",)


def test_a_plugin_that_guards_something_cannot_be_optional(install: Install) -> None:
    install("corp", AUTHENTICATOR)

    assert failure(optional=["corp"]) == (
        "plugin 'corp' (toolway-corp 1.0) implements 'toolway_authenticators', "
        "so it cannot be optional: without it the "
        "gateway would be less guarded; remove 'corp' from plugins.optional"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import a_missing_library\n" + AUTHENTICATOR,
        AUTHENTICATOR.replace("authenticators", "autenticators"),
        AUTHENTICATOR.replace("@hookimpl", ""),
    ],
)
def test_an_optional_plugin_that_fails_is_not_quarantined_when_it_would_guard_something(
    install: Install, source: str
) -> None:
    install("corp", source)

    assert failure(optional=["corp"]).endswith("(it may guard something, so plugins.optional does not help)")


def test_an_optional_plugin_that_is_not_installed_is_refused_because_nobody_knows_what_it_guards() -> None:
    assert "not installed" in failure("ldap", optional=["ldap"])


def test_broken_plugins_are_reported_without_raising(install: Install) -> None:
    install("corp", "import a_missing_library", distribution="corp-toolway", version="0.4")

    [info] = [info for info in Plugins.load(["corp"]).report() if info.name == "corp"]

    assert (info.state, info.distribution, info.version, info.hooks) == ("broken", "corp-toolway", "0.4", ())
    assert "a_missing_library" in info.error


def test_the_report_names_the_hooks_that_an_enabled_plugin_uses(install: Install) -> None:
    install("corp", POLICY)

    [info] = [info for info in Plugins.load(["corp"]).report() if info.name == "corp"]

    assert info.hooks == ("toolway_policies",)


def test_two_gateways_in_one_process_have_their_own_instances(install: Install) -> None:
    install("corp", POLICY)

    first, second = (Plugins.load(["corp"]).collect(toolway_policies, None) for _ in range(2))

    assert first[0] is not second[0]
