"""Accounts over two gateway processes, and as people use them on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fronts
import pytest
import running
import wire
from shell import Shell

from toolway_testing.polling import eventually_now

PASSWORD = "correct horse battery"
SOON = 1.0


@dataclass(frozen=True)
class Nodes:
    """Two processes on one database: behind one address, or behind two."""

    urls: tuple[str, str]
    token: str
    home: Path

    def api(self, node: int, method: str, path: str, body: Any = None, token: str | None = None) -> wire.Answer:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token or self.token}"}
        content = None if body is None else wire.encode(body)
        return wire.send(f"{self.urls[node]}/api/v1{path}", method, content, headers)

    def status(self, node: int, token: str) -> int:
        return self.api(node, "GET", "/session", token=token).status

    def statuses(self, token: str) -> set[int]:
        """Of many connections to both, so that with one address both processes answer."""
        return {self.status(node, token) for node in (0, 1) for _ in range(8)}

    def add(self, name: str, **fields: Any) -> None:
        assert self.api(0, "POST", "/users", {"name": name, **fields}).status == 201
        assert self.api(0, "PUT", f"/users/{name}/password", {"password": PASSWORD}).status == 204

    def sign_in(self, node: int, name: str, password: str = PASSWORD) -> str:
        answer = self.api(node, "POST", "/session", {"username": name, "password": password, "bearer": True})
        assert answer.status == 201, answer.body
        return str(json.loads(answer.body)["token"])


@pytest.fixture(scope="module", params=["one address", pytest.param("two addresses", marks=pytest.mark.server)])
def nodes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    directory = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        if request.param == "one address":
            gate = stack.enter_context(running.gateway(directory, "workers = 2\n\n"))
            yield Nodes((gate.url, gate.url), fronts.admin_token(gate), directory / "home")
            return
        server = request.getfixturevalue("postgres_server")
        shared = f'database = "literal:{server.url()}"\nroot_key = "literal:{"k" * 64}"\n\n'
        gates = []
        for name in ("a", "b"):
            (directory / name).mkdir()
            gates.append(stack.enter_context(running.gateway(directory / name, shared)))
        yield Nodes((gates[0].url, gates[1].url), fronts.admin_token(gates[0]), directory / "home")


def test_who_signs_out_on_one_node_is_out_on_the_other_within_a_second(nodes: Nodes) -> None:
    nodes.add("alice")
    token, other = nodes.sign_in(0, "alice"), nodes.sign_in(1, "alice")
    eventually_now(lambda: nodes.statuses(token) == {200}, SOON)
    assert nodes.api(0, "DELETE", "/session", token=token).status == 204
    eventually_now(lambda: nodes.statuses(token) == {401}, SOON)
    assert nodes.statuses(other) == {200}


def test_who_is_disabled_on_one_node_is_out_on_the_other_within_a_second(nodes: Nodes) -> None:
    nodes.add("bob")
    token = nodes.sign_in(1, "bob")
    eventually_now(lambda: nodes.statuses(token) == {200}, SOON)
    assert nodes.api(0, "PUT", "/users/bob", {"name": "bob", "enabled": False}).status == 200
    eventually_now(lambda: nodes.statuses(token) == {401}, SOON)


def test_guesses_on_two_nodes_count_together(nodes: Nodes) -> None:
    nodes.add("carol")
    wrong = {"username": "carol", "password": "something else altogether"}
    tried = [nodes.api(number % 2, "POST", "/session", wrong).status for number in range(5)]
    assert tried[:5] == [401] * 5
    eventually_now(lambda: nodes.api(1, "POST", "/session", wrong).status == 429)


def test_a_member_that_is_added_on_one_node_is_one_on_the_other_within_a_second(nodes: Nodes) -> None:
    nodes.add("dave")
    token = nodes.sign_in(1, "dave")
    nodes.api(0, "POST", "/teams", {"name": "ops"})
    assert nodes.api(0, "PUT", "/teams/ops/members/user:dave", {"role": "viewer"}).status == 204

    def teams() -> Any:
        return json.loads(nodes.api(1, "GET", "/session", token=token).body)["account"]["teams"]

    eventually_now(lambda: teams() == {"ops": "viewer"}, SOON)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_first_administrator_is_made_and_signs_in_on_the_command_line(nodes: Nodes) -> None:
    shell = Shell(nodes.urls[0], nodes.home)
    assert shell.run("users", "add", "root", "--admin", token=nodes.token).code == 0
    set_password = shell.run("users", "password", "root", answers=(PASSWORD, PASSWORD), token=nodes.token)
    assert set_password.code == 0
    assert PASSWORD not in set_password.out

    assert shell.run("login", "--user", "root", answers=("wrong",)).code == 4
    signed_in = shell.run("login", "--user", "root", answers=(PASSWORD,))
    assert signed_in.code == 0, signed_in.out
    assert "root" in shell.run("users", "list").out

    for command in (
        ("teams", "add", "billing", "--description", "Invoices"),
        ("service-accounts", "add", "nightly", "--owner", "team:billing"),
        ("teams", "members", "add", "billing", "root", "--role", "owner"),
        ("teams", "members", "add", "billing", "service:nightly"),
        ("users", "add", "temp"),
        ("users", "disable", "temp"),
        ("users", "enable", "temp"),
        ("users", "remove", "temp"),
        ("teams", "members", "remove", "billing", "service:nightly"),
    ):
        ran = shell.run(*command)
        assert ran.code == 0, ran.out
    listed = json.loads(shell.run("--json", "teams", "members", "list", "billing").out)
    assert listed == [{"account": "user:root", "role": "owner"}]
    assert "team:billing" in shell.run("service-accounts", "list").out
    assert "service:nightly" not in shell.run("teams", "list").out

    assert shell.run("logout").code == 0
    assert shell.run("users", "list").code == 4
