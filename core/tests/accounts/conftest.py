"""A gateway with its accounts, and people who use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from toolway_testing.gateway import Answer, RunningGateway, StartGateway

PASSWORD = "correct horse battery"


@dataclass
class Person:
    """Somebody with headers that say who they are; the answer to their sign-in."""

    gate: RunningGateway
    headers: dict[str, str] = field(default_factory=dict)
    signed_in: Answer | None = None

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request to the REST API; headers are named with underscores."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.gate._send(method, f"{self.gate.url}/api/v1{path}", self.headers | more, body)


@dataclass
class House:
    """A gateway whose local admin makes users."""

    gate: RunningGateway

    @property
    def admin(self) -> Person:
        return Person(self.gate, {"authorization": f"Bearer {self.gate.token}"})

    @property
    def stranger(self) -> Person:
        return Person(self.gate)

    async def add(self, name: str, **fields: Any) -> None:
        """A user with the password of this module."""
        answer = await self.admin("POST", "/users", {"name": name, **fields})
        assert answer.status == 201, answer.content
        answer = await self.admin("PUT", f"/users/{name}/password", {"password": PASSWORD})
        assert answer.status == 204, answer.content

    async def sign_in(self, name: str, *, bearer: bool = True, password: str = PASSWORD) -> Person:
        """With a token, or as a page with a cookie that sends the CSRF token."""
        body = {"username": name, "password": password, "bearer": bearer}
        answer = await self.stranger("POST", "/session", body)
        assert answer.status == 201, answer.content
        if bearer:
            return Person(self.gate, {"authorization": f"Bearer {answer.content['token']}"}, answer)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        return Person(self.gate, {"cookie": cookie, "x-csrf-token": answer.content["csrf"]}, answer)


StartHouse = Callable[[], Awaitable[House]]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Of `[gateway]`: which database."""
    if request.param == "sqlite":
        return {}
    return {"database": f"literal:{request.getfixturevalue('postgres_url')}"}


@pytest_asyncio.fixture
async def house(settings: dict[str, Any], gateway: StartGateway) -> AsyncIterator[House]:
    yield House(await gateway(**settings))
