"""The configuration: layers, defaults, and one precise sentence per thing that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from toolway.config import Config, load_config
from toolway.edge.settings import EdgeSettings
from toolway.errors import ConfigError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "toolway.toml"


def refusal(file: Path, text: str = "", environ: Mapping[str, str] | None = None) -> str:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ or {})
    return caught.value.message


def test_without_a_file_everything_has_a_default(file: Path) -> None:
    config = load_config(None, {})

    assert config == Config()
    assert config.gateway.address == ("127.0.0.1", 4440)
    assert config.gateway.public_url == "http://127.0.0.1:4440"
    assert config.egress.allow_private == ()
    assert isinstance(config.gateway, EdgeSettings)


def test_the_file_in_the_working_directory_is_read(file: Path) -> None:
    file.write_text('[gateway]\nbind = "127.0.0.1:1"\n[[upstreams]]\nname = "a"\nanything = 1\n')

    config = load_config(None, {})

    assert config.gateway.bind == "127.0.0.1:1"
    assert config.upstreams == ({"name": "a", "anything": 1},)
    assert config.source == "toolway.toml"


def test_the_environment_wins_over_the_secrets_directory_which_wins_over_the_file(file: Path, tmp_path: Path) -> None:
    file.write_text('[gateway]\nbind = "127.0.0.1:1"\nkeyvalue = "file"\nbalancer = "file"\n')
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "TOOLWAY_GATEWAY__KEYVALUE").write_text("mounted\n")
    (mounted / "TOOLWAY_GATEWAY__BALANCER").write_text("mounted\n")
    (mounted / "unrelated").write_text("x")

    config = load_config(file, {"TOOLWAY_SECRETS_DIR": str(mounted), "TOOLWAY_GATEWAY__KEYVALUE": "exported"})

    assert config.gateway.bind == "127.0.0.1:1"
    assert config.gateway.balancer == "mounted"
    assert config.gateway.keyvalue == "exported"


def test_lists_and_tables_in_the_environment_are_json(file: Path) -> None:
    environ = {
        "TOOLWAY_PLUGINS__ENABLE": '["a", "b"]',
        "TOOLWAY_EGRESS__ALLOW_PRIVATE": '["10.0.0.0/8"]',
        "TOOLWAY_UPSTREAMS": '[{"name": "a"}]',
        "TOOLWAY_GATEWAY__BIND": "[::1]:0",
    }

    config = load_config(None, environ)

    assert config.plugins.enable == ("a", "b")
    assert config.egress.allow_private == (ip_network("10.0.0.0/8"),)
    assert config.upstreams == ({"name": "a"},)
    assert config.gateway.address == ("::1", 0)


def test_tables_of_plugins_are_kept_as_written_and_their_names_have_dashes_in_the_environment(file: Path) -> None:
    file.write_text('[plugins.server-keys]\nmax_ttl = "365d"\n')

    config = load_config(file, {"TOOLWAY_PLUGINS__SERVER_KEYS__DEFAULT_TTL": "30d"})

    assert config.plugins.tables == {"server-keys": {"max_ttl": "365d", "default_ttl": "30d"}}


def test_variables_that_name_no_table_are_left_to_references(file: Path) -> None:
    assert load_config(None, {"TOOLWAY_DATABASE": "secret", "TOOLWAY_URL": "http://x"}) == Config()


@pytest.mark.parametrize(
    ("bind", "tls", "url"),
    [
        ("0.0.0.0:80", "", "http://127.0.0.1:80"),
        ("[::]:80", "", "http://[::1]:80"),
        ("127.0.0.1:443", 'tls = { cert = "c.pem", key = "k.pem" }', "https://127.0.0.1:443"),
        ("127.0.0.1:80", 'root_path = "/mcp-gateway"', "http://127.0.0.1:80/mcp-gateway"),
        ("127.0.0.1:80", 'public_url = "https://mcp.example.com/"', "https://mcp.example.com"),
    ],
)
def test_the_public_url_follows_from_bind_unless_it_is_given(file: Path, bind: str, tls: str, url: str) -> None:
    file.write_text(f'[gateway]\nbind = "{bind}"\n{tls}\n')

    assert load_config(file, {}).gateway.public_url == url


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[gateway]\nbnd = "x"', "gateway.bnd is not a setting; did you mean 'bind'?"),
        ("[gatway]", "gatway is not a setting; did you mean 'gateway'?"),
        ("[gateway.limits]\nhed = 1", "gateway.limits.hed is not a setting; did you mean 'head'?"),
        ('[plugins]\nenabel = ["a"]', "plugins must not have the key 'enabel'; did you mean 'enable'?"),
        ('[plugins]\nenable = "a"', "plugins.enable should be a list"),
        ("[gateway]\npage_size = 0", "gateway.page_size should be greater than or equal to 1"),
        ('[gateway]\nbind = "4440"', 'gateway.bind must be host:port, such as "127.0.0.1:4440" or "[::1]:4440"'),
        ('[gateway]\ntls = { cert = "c" }', "gateway.tls.key is missing; add it"),
        ('[egress]\nallow_private = ["10.0.0.0/99"]', "egress.allow_private[0] is not a valid IPv4 network or is not "),
        ("[gateway]\nmystery_of_the_deep = 1", "gateway.mystery_of_the_deep is not a setting; known here: access, "),
    ],
)
def test_what_is_wrong_is_named_with_file_and_path(file: Path, text: str, sentence: str) -> None:
    assert refusal(file, text).startswith(f"toolway.toml: {sentence}")


def test_every_problem_has_its_line_and_no_line_repeats_a_value(file: Path) -> None:
    message = refusal(file, '[gateway]\nroot_key = "hunter2"\nbind = "hunter2"\npage_size = "hunter2"\n')

    assert len(message.splitlines()) == 3
    assert "hunter2" not in message
    assert "gateway.root_key must be a secret reference such as env:NAME or file:/path, not a value" in message


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("TOOLWAY_GATWAY__BIND", "x", "gatway is not a setting; did you mean 'gateway'?"),
        ("TOOLWAY_GATEWAY__PAGE_SIZE", "many", "gateway.page_size should be a valid integer, "),
        ("TOOLWAY_PLUGINS__ENABLE", "a,b", "plugins.enable should be a list (as JSON)"),
        ("TOOLWAY_GATEWAY__TLS", "{no json", "gateway.tls should be a table (as JSON)"),
    ],
)
def test_a_wrong_variable_is_named(file: Path, name: str, value: str, sentence: str) -> None:
    assert refusal(file, environ={name: value}).startswith(f"{name}: {sentence}")


def test_variables_that_contradict_each_other_are_refused(file: Path) -> None:
    environ = {"TOOLWAY_GATEWAY": "x", "TOOLWAY_GATEWAY__BIND": "127.0.0.1:1"}

    assert refusal(file, environ=environ) == (
        "TOOLWAY_GATEWAY__BIND contradicts a variable that sets 'gateway' as a whole; set only one of them"
    )


def test_a_file_that_is_not_toml_is_refused_with_the_place(file: Path) -> None:
    assert refusal(file, "[gateway\n").endswith("(at line 1, column 9); correct it there")


def test_a_named_file_that_does_not_exist_is_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"other\.toml cannot be read: No such file or directory"):
        load_config(file.with_name("other.toml"), {})
    with pytest.raises(ConfigError, match=r"other\.toml cannot be read"):
        load_config(None, {"TOOLWAY_CONFIG": "other.toml"})


def test_a_secrets_directory_that_does_not_exist_is_refused(file: Path) -> None:
    assert refusal(file, environ={"TOOLWAY_SECRETS_DIR": "/nowhere"}) == (
        "TOOLWAY_SECRETS_DIR /nowhere cannot be read: No such file or directory; name a readable directory"
    )


def test_what_is_in_the_directory_beside_the_file_is_read_after_it(tmp_path: Path) -> None:
    file, beside = tmp_path / "toolway.toml", tmp_path / "toolway.d"
    beside.mkdir()
    file.write_text('[gateway]\npage_size = 1\nnaming = "plain"\n[[servers]]\nname = "a"\n[plugins]\nenable = ["x"]\n')
    (beside / "20-b.toml").write_text('[[servers]]\nname = "b"\n[gateway]\npage_size = 3\n')
    (beside / "10-c.toml").write_text('[[servers]]\nname = "c"\n[gateway]\npage_size = 2\n[plugins]\nenable = ["y"]\n')
    (beside / "notes.txt").write_text("no configuration")

    config = load_config(file, {})

    assert [each["name"] for each in config.servers] == ["a", "c", "b"]
    assert (config.gateway.page_size, config.gateway.naming, config.plugins.enable) == (3, "plain", ("y",))


def test_a_file_beside_it_that_is_no_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "toolway.toml").write_text("")
    (tmp_path / "toolway.d").mkdir()
    (tmp_path / "toolway.d/10-broken.toml").write_text("[")

    with pytest.raises(ConfigError, match=r"10-broken\.toml is not TOML"):
        load_config(tmp_path / "toolway.toml", {})
