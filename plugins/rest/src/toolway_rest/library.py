"""Loads documents and keeps the books made of them; the same bytes are never read twice."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import threading
from pathlib import Path
from weakref import WeakValueDictionary

import aiohttp
import msgspec

from toolway.plugin import InvalidInput, Kernel, UpstreamError, UpstreamProtocol
from toolway.plugin.http import ClientTls, OutgoingHttp, RedirectRefused, dial_error, read_body
from toolway_rest.builder import build
from toolway_rest.document import Document, parse
from toolway_rest.operations import Book
from toolway_rest.settings import RestUpstream, is_url

FETCH_SECONDS = 30.0


class Kept(msgspec.Struct, weakref=True, eq=False):
    """The book of an upstream, and of which settings and document it was made."""

    settings: RestUpstream
    digest: bytes
    book: Book


Shelf = WeakValueDictionary[str, Kept]
"""What libraries of this process hold, by the names of upstreams; a gateway that takes over finds it there."""


class Library:
    """The books of one gateway, by the names of their upstreams."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._outgoing: OutgoingHttp = kernel.http
        self._held: dict[str, Kept] = {}
        self._shared: asyncio.Future[Shelf] | None = None
        self._reading: dict[str, asyncio.Lock] = {}

    async def known(self, settings: RestUpstream) -> Book:
        """The book as it was read last; read now when it never was with these settings."""
        kept = self._held.get(settings.name)
        if kept is not None and (kept.settings is settings or kept.settings == settings):
            return kept.book
        async with self._reading.setdefault(settings.name, asyncio.Lock()):
            kept = await self._found(settings)
            return kept.book if kept is not None else await self._read(settings)

    async def read(self, settings: RestUpstream) -> Book:
        """The book of the document as it is now.

        Raises:
            UpstreamError: the document cannot be loaded or used.
        """
        async with self._reading.setdefault(settings.name, asyncio.Lock()):
            return await self._read(settings)

    async def _found(self, settings: RestUpstream) -> Kept | None:
        """What this gateway or the one before has read with the same settings."""
        for known in (self._held, await self._shelf()):
            kept = known.get(settings.name)
            if kept is not None and kept.settings == settings:
                self._held[settings.name] = kept
                return kept
        return None

    async def _shelf(self) -> Shelf:
        if self._shared is None:
            self._shared = asyncio.ensure_future(self._kernel.keep("books of REST APIs", "1", _empty))
        return await asyncio.shield(self._shared)

    async def _read(self, settings: RestUpstream) -> Book:
        data = await self._loaded(settings) if settings.document else b""
        digest = await asyncio.to_thread(_digest, data)
        kept = await self._found(settings)
        if kept is None or kept.digest != digest:
            try:
                book = await asyncio.to_thread(made, settings, data)
            except InvalidInput as error:
                raise UpstreamProtocol(f"upstream {settings.name!r}: {error.message}", sent=False) from None
            kept = self._held[settings.name] = (await self._shelf())[settings.name] = Kept(settings, digest, book)
            for gone in self._held.keys() - self._kernel.catalog.snapshot.upstreams.keys() - {settings.name}:
                del self._held[gone]
        return kept.book

    async def _loaded(self, settings: RestUpstream) -> bytes:
        if is_url(settings.document):
            return await self._fetched(settings)
        try:
            return await asyncio.to_thread(_file, Path(settings.document), settings.max_document)
        except OSError as error:
            what = f"cannot read the document {settings.document} ({error.strerror})"
            raise UpstreamError(f"upstream {settings.name!r}: {what}", sent=False) from None

    async def _fetched(self, settings: RestUpstream) -> bytes:
        who = f"the document of upstream {settings.name!r}"
        private = settings.allow_private
        url = self._outgoing.guard(allow_private=private).check_url(settings.document)
        key = f"document of upstream {settings.name}"
        session = self._outgoing.session(key, allow_private=private, tls=settings.tls or ClientTls())
        headers = {"accept": "application/json, application/yaml;q=0.9, */*;q=0.1"}
        try:
            async with asyncio.timeout(FETCH_SECONDS), session.get(url, headers=headers, allow_redirects=False) as got:
                if 300 <= got.status < 400:
                    raise RedirectRefused(f"{who} redirects, which is not followed; configure the final URL")
                if got.status != 200 or got.headers.get("content-encoding", "identity") != "identity":
                    what = "compressed" if got.status == 200 else f"answered with HTTP status {got.status}"
                    raise UpstreamProtocol(f"{who} is {what}", sent=False)
                return await read_body(got, settings.max_document)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise dial_error(error, who) from None


async def _empty() -> Shelf:
    return WeakValueDictionary()


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _file(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(27, f"it is larger than max_document = {limit} bytes")
    return data


class Uncollected:
    """While documents are read, the collector of cycles rests: it would look at all values while all else waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading = 0
        self._was_on = False

    def __enter__(self) -> None:
        with self._lock:
            self._was_on = self._was_on if self._reading else gc.isenabled()
            self._reading += 1
            gc.disable()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._reading -= 1
            if not self._reading and self._was_on:
                gc.enable()


UNCOLLECTED = Uncollected()


def made(settings: RestUpstream, data: bytes) -> Book:
    """The book of a document; raises InvalidInput. For a thread of its own."""
    with UNCOLLECTED:
        return _book(settings, data)


def _book(settings: RestUpstream, data: bytes) -> Book:
    document: Document | None = parse(data) if settings.document else None
    return build(settings, document)
