"""A person with a browser: follows links, fills in forms, keeps cookies; no scripts."""

from __future__ import annotations

import re
from html import unescape
from types import TracebackType

import aiohttp
from aiohttp import ClientResponse
from yarl import URL


class Page:
    """What a browser shows."""

    def __init__(self, answer: ClientResponse, text: str) -> None:
        self.status, self.url, self.headers, self.text = answer.status, answer.url, answer.headers, text

    @property
    def fields(self) -> dict[str, str]:
        """The hidden fields of the form."""
        found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', self.text)
        return {name: unescape(value) for name, value in found}

    @property
    def onward(self) -> str:
        """Where the page leads by itself."""
        found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', self.text)
        assert found is not None, self.text
        return unescape(found[1])


class Person:
    """Signs in at the authorization server as `login`; proves who they are to the gateway with `credential`."""

    def __init__(self, login: str = "alice", credential: str = "is-alice", base: str = "") -> None:
        self.login, self.credential = login, credential
        origins = [URL(base)] if base else []
        self._jar = aiohttp.CookieJar(unsafe=True, treat_as_secure_origin=origins)

    async def __aenter__(self) -> Person:
        self.http = await aiohttp.ClientSession(cookie_jar=self._jar).__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.close()

    async def get(self, url: str, **options: bool) -> Page:
        async with self.http.get(url, **options) as answer:  # type: ignore[arg-type]
            return Page(answer, await answer.text())

    async def post(self, url: str, data: dict[str, str], headers: dict[str, str] | None = None) -> Page:
        async with self.http.post(url, data=data, headers=headers) as answer:
            return Page(answer, await answer.text())

    async def consent(self, link: str) -> Page:
        """Read the consent page and agree: the page that leads to the authorization server."""
        asked = await self.get(link)
        assert asked.status == 200, asked.text
        return await self.post(link, {**asked.fields, "credential": self.credential})

    async def sign_in(self, url: str) -> str:
        """Sign in at the authorization server; where it sends the browser back to."""
        shown = await self.get(url)
        assert "Sign in" in shown.text, shown.text
        form = {"login": self.login, "password": f"{self.login}-secret"}
        there = str(shown.url)
        async with self.http.post(there, data=form, allow_redirects=False) as answer:
            location = answer.headers["location"]
        while not location.partition("?")[0].endswith("/callback"):
            async with self.http.get(URL(there).join(URL(location, encoded=True)), allow_redirects=False) as answer:
                there, location = str(answer.url), answer.headers["location"]
        return location

    async def connect(self, link: str) -> Page:
        """All of it, up to the last page."""
        left = await self.consent(link)
        assert left.status == 200, left.text
        return await self.get(await self.sign_in(left.onward))
