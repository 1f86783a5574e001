"""OpenBao servers, and a way to ask them as the plugin does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from openbao import OpenBao, running_openbao

from toolway.clock import SystemClock
from toolway_vault.settings import VaultSettings
from toolway_vault.vault import Vault

OpenVault = Callable[..., Vault]


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """In memory; every test uses mounts of its own."""
    with running_openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture(scope="session")
def openbao_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """The same over TLS, with a certificate of its own authority."""
    with running_openbao(tmp_path_factory.mktemp("openbao-tls"), "tls") as server:
        yield server


@pytest.fixture(scope="session")
def openbao_raft(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """One on disk, which can be sealed; whoever seals it unseals it."""
    with running_openbao(tmp_path_factory.mktemp("openbao-raft"), "raft") as server:
        yield server


async def literal(reference: str) -> str:
    """What `literal:` is."""
    return reference.removeprefix("literal:")


@pytest_asyncio.fixture
async def vault() -> AsyncIterator[Callable[..., Vault]]:
    """Called with settings it gives a `Vault`, which is closed after the test."""
    async with AsyncExitStack() as stack:

        def make(settings: dict[str, Any], resolve: Callable[[str], Awaitable[str]] = literal) -> Vault:
            made = Vault(VaultSettings(**settings), SystemClock())
            made.tokens.resolve = resolve
            stack.push_async_callback(made.close)
            return made

        yield make
