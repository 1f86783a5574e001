"""Keys: what is sealed can be opened by the ring that sealed it, for its purpose, unaltered; by nothing else."""

import asyncio
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given, strategies as st
from sqlmodel import select

from toolway.catalog.models import KeyRow
from toolway.catalog.store import Store
from toolway.errors import ConfigError
from toolway.keyring import KeyRing, _new_row, _root, open_ring, root_key_file
from toolway_testing.clock import MovedClock

ROOT = "r" * 43
RING = KeyRing([(b"newest", b"1" * 32), (b"older.", b"2" * 32)])


@given(st.text(max_size=50), st.binary(max_size=2000))
def test_what_was_sealed_comes_back(purpose: str, payload: bytes) -> None:
    token = RING.seal(purpose, payload)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", token)
    assert RING.open(purpose, token) == payload


@given(st.binary(max_size=100), st.data())
def test_any_altered_character_is_noticed(payload: bytes, data: st.DataObject) -> None:
    token = RING.seal("session", payload)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda character: character != token[at]))
    assert RING.open("session", token[:at] + other + token[at + 1 :]) is None


@given(st.binary(max_size=100), st.data())
def test_anything_cut_off_or_added_is_noticed(payload: bytes, data: st.DataObject) -> None:
    token = RING.seal("session", payload)
    assert RING.open("session", token[: data.draw(st.integers(0, len(token) - 1))]) is None
    assert RING.open("session", token + data.draw(st.text(min_size=1, max_size=8))) is None


@given(st.text(max_size=300))
def test_foreign_text_is_not_opened(token: str) -> None:
    assert RING.open("session", token) is None


def test_a_seal_of_another_purpose_is_not_opened() -> None:
    assert RING.open("cursor", RING.seal("session", b"x")) is None


def test_the_same_payload_never_looks_the_same() -> None:
    assert len({RING.seal("session", b"x") for _ in range(100)}) == 100


def test_older_keys_open_and_unknown_ones_do_not() -> None:
    older = KeyRing([(b"older.", b"2" * 32)])
    assert RING.open("session", older.seal("session", b"x")) == b"x"
    assert older.open("session", RING.seal("session", b"x")) is None


def test_sealing_and_opening_cost_microseconds() -> None:
    payload = b"x" * 150
    best = min(_seconds(lambda: RING.open("session", RING.seal("session", payload))) for _ in range(20))
    assert best < 100e-6, f"{best * 1e6:.1f} µs"


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    for _ in range(100):
        work()
    return (time.perf_counter() - start) / 100


async def test_every_node_of_a_database_has_the_same_ring(nodes: tuple[Store, Store], clock: MovedClock) -> None:
    one = await open_ring(nodes[0], ROOT, clock)
    two = await open_ring(nodes[1], ROOT, clock)
    assert two.open("session", one.seal("session", b"x")) == b"x"


async def test_nodes_that_start_at_once_make_one_ring(nodes: tuple[Store, Store], clock: MovedClock) -> None:
    rings = await asyncio.gather(*(open_ring(store, ROOT, clock) for store in nodes * 3))
    assert all(ring.open("session", rings[0].seal("session", b"x")) == b"x" for ring in rings)


async def test_another_root_key_is_refused_and_the_message_says_what_to_do(store: Store, clock: MovedClock) -> None:
    await open_ring(store, ROOT, clock)
    with pytest.raises(ConfigError, match="use the root key that the database was made with"):
        await open_ring(store, "s" * 43, clock)


async def test_a_key_row_of_another_id_is_refused(store: Store, clock: MovedClock) -> None:
    await open_ring(store, ROOT, clock)
    async with store.write() as tx:
        row = (await tx.session.exec(select(KeyRow))).one()
        tx.session.add(KeyRow(id="00" * 6, created_at=row.created_at, wrapped=row.wrapped))
    with pytest.raises(ConfigError):
        await open_ring(store, ROOT, clock)


async def test_a_short_root_key_is_refused(store: Store, clock: MovedClock) -> None:
    with pytest.raises(ConfigError, match="shorter than 32 characters"):
        await open_ring(store, "secret", clock)


async def test_the_newest_key_seals_and_older_ones_still_open(store: Store, clock: MovedClock) -> None:
    before = await open_ring(store, ROOT, clock)
    old = before.seal("session", b"x")
    async with store.write() as tx:
        tx.session.add(_new_row(_root(ROOT), clock.now() + 1))
    after = await open_ring(store, ROOT, clock)
    new = after.seal("session", b"y")
    assert after.open("session", old) == b"x"
    assert before.open("session", new) is None
    assert (await open_ring(store, ROOT, clock)).open("session", new) == b"y"


def test_the_root_key_file_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    key = root_key_file(directory)
    assert len(key) >= 43
    assert root_key_file(directory) == key
    assert (directory / "root.key").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.iterdir()] == ["root.key"]


@pytest.mark.parametrize(("name", "mode"), [("", 0o750), ("root.key", 0o640), ("root.key", 0o604)])
def test_keys_that_others_can_reach_are_refused(tmp_path: Path, name: str, mode: int) -> None:
    directory = tmp_path / "data"
    root_key_file(directory)
    (directory / name).chmod(mode)
    with pytest.raises(ConfigError, match="chmod "):
        root_key_file(directory)


def test_an_empty_root_key_file_is_not_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    root_key_file(directory)
    (directory / "root.key").write_text("")
    with pytest.raises(ConfigError, match="restore it from a backup"):
        root_key_file(directory)


STARTER = dedent(
    """
    import asyncio, pathlib, sys
    from toolway.bundled.defaults.admin_token import ensure_first_token
    from toolway.bundled import bundled_plugins
    from toolway.catalog.store import Store
    from toolway.clock import SystemClock
    from toolway.keyring import open_ring, root_key_file
    from toolway.hookspecs.system import toolway_migrations
    from toolway.migrations.run import kernel_history, migrate
    from toolway.plugin.host import Plugins

    async def main():
        url, directory = sys.argv[1:]
        sys.stdin.readline()
        store = Store.connect(url)
        plugins = Plugins.load([], builtins=bundled_plugins())
        await migrate(store, [kernel_history(), *plugins.collect(toolway_migrations, None)])
        ring = await open_ring(store, root_key_file(pathlib.Path(directory)), SystemClock())
        token = await ensure_first_token(store, SystemClock())
        print(ring.seal("race", b"x"), token)
        await store.close()

    print("ready", flush=True)
    asyncio.run(main())
    """
)


async def test_processes_that_start_at_once_on_nothing_agree_on_everything(
    database_url: str, tmp_path: Path, connect: Callable[[str], Store]
) -> None:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-c", STARTER, database_url, str(tmp_path / "data"))
    starters = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe) for _ in range(4)]
    for starter in starters:
        assert starter.stdout is not None
        await starter.stdout.readline()
    answers = await asyncio.gather(*(starter.communicate(b"go\n") for starter in starters))
    seals, tokens = zip(*(answer[0].split() for answer in answers), strict=True)
    ring = await open_ring(connect(database_url), root_key_file(tmp_path / "data"), MovedClock())
    assert [ring.open("race", seal.decode()) for seal in seals] == [b"x"] * 4
    assert sorted(token == b"None" for token in tokens) == [False, True, True, True]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["root.key"]
