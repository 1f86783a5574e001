"""The recommended configuration: it is valid, and enables the fast server and every other plugin of the repository."""

import tomllib
from pathlib import Path

import pytest

from toolway.app import load_plugins
from toolway.config import load_config
from toolway.hookspecs.system import toolway_server_runners
from toolway.keep import Keeper
from toolway.kernel import GatewayKernel

ROOT = Path(__file__).resolve().parents[1]
RECOMMENDED = ROOT / "contrib/recommended.toml"
NOT_FOR_EVERYBODY = {"otel", "vault", "cache"}
"""They need the address of something, or change what callers see."""


def test_it_enables_the_plugins_of_the_repository() -> None:
    enabled = tomllib.loads(RECOMMENDED.read_text(encoding="utf-8"))["plugins"]["enable"]

    assert sorted(
        {folder.parent.name for folder in ROOT.glob("plugins/*/pyproject.toml")} - NOT_FOR_EVERYBODY
    ) == sorted(enabled)


def test_it_loads_and_the_fast_server_acts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOOLWAY_GATEWAY__DATA_DIR", str(tmp_path))
    config = load_config(RECOMMENDED)
    plugins = load_plugins(config)

    plugins.refuse_broken()

    assert config.gateway.server == "auto"
    runner = plugins.one(toolway_server_runners, GatewayKernel.bare(config, Keeper().holder()), None)
    assert runner.name == "uvicorn"


def test_what_is_deployed_is_what_is_recommended() -> None:
    deployed = tomllib.loads((ROOT / "contrib/deploy/toolway.toml").read_text())

    assert deployed["plugins"] == tomllib.loads(RECOMMENDED.read_text())["plugins"]
    assert deployed["gateway"]["data_dir"] in (ROOT / "contrib/deploy/Dockerfile").read_text()
