"""A reload that does not change the settings keeps the login and what is known."""

from __future__ import annotations

from typing import Any

import pytest
from openbao import OpenBao

from toolway.bundled.defaults.references import LiteralScheme
from toolway.config import Config
from toolway.keep import Keeper
from toolway.kernel import GatewayKernel
from toolway.plugin import SecretUnavailable
from toolway_vault.serving import ServedVault
from toolway_vault.settings import VaultSettings

pytestmark = pytest.mark.server


async def test_what_is_known_outlives_a_reload_and_ends_with_the_last_gateway(openbao: OpenBao) -> None:
    mount = openbao.kv()
    openbao.put(mount, "app", password="s3cret")
    keeper, settings = Keeper(), VaultSettings(**openbao.settings(poll=60))
    holders = [keeper.holder(), keeper.holder()]
    kernels: list[Any] = [GatewayKernel.bare(Config(), holder) for holder in holders]
    for kernel in kernels:
        kernel.secrets.use([LiteralScheme()])
    old, new = (ServedVault(settings, kernel) for kernel in kernels)
    reference = f"{mount}/app#password"
    assert (await old.resolve(reference)).value == "s3cret"

    openbao.put(mount, "app", password="changed")
    assert (await new.resolve(reference)).value == "s3cret"
    await holders[0].release()
    assert (await new.resolve(reference)).value == "s3cret"

    await holders[1].release()
    with pytest.raises(SecretUnavailable, match="the gateway is stopping"):
        await new.resolve(reference)
