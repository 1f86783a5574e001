"""Checks of upstreams: whether they can be reached, until when their certificates are valid, what time they have."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

from toolway.hookspecs.catalog import UpstreamView
from toolway.plugin import Kernel, ToolwayError
from toolway.plugin.http import ClientTls, EgressGuard, tls_context
from toolway_diagnostics.finding import Finding, error, good
from toolway_diagnostics.storage import expiry, off

DIAL_SECONDS = 1.5
DATE_SECONDS = 0.5
AT_ONCE = 128
HEAD_BYTES = 16 * 1024
DATE = re.compile(rb"^date:\s*(.+?)\r?$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What an endpoint says before anybody speaks MCP with it."""

    problem: str = ""
    expires: datetime | None = None
    date: float | None = None


async def upstreams(kernel: Kernel) -> Sequence[Finding]:
    """Dial every endpoint of every upstream that is enabled; nothing is called."""
    views = [view for view in kernel.catalog.snapshot.upstreams.values() if view.upstream.settings.enabled]
    slots = asyncio.Semaphore(AT_ONCE)
    found = await asyncio.gather(*(_looked_at(kernel, view, slots) for view in views))
    return [each for findings in found for each in findings] or [good("upstreams", "none is enabled")]


async def _looked_at(kernel: Kernel, view: UpstreamView, slots: asyncio.Semaphore) -> list[Finding]:
    upstream, settings = view.upstream, view.upstream.settings
    if command := getattr(settings, "command", None):
        findings = [_program(upstream.name, command[0])]
    else:
        urls = [] if getattr(settings, "proxy", None) else [each.id for each in upstream.endpoints if "://" in each.id]
        answers = await asyncio.gather(*(_dialled(kernel, url, settings, slots) for url in urls))
        now = kernel.clock.now()
        told = [_of(f"{upstream.name} at {_place(url)}", each, now) for url, each in zip(urls, answers, strict=True)]
        findings = [each for several in told for each in several]
    if view.status == "down" and all(each.check != "upstreams" or each.level == "ok" for each in findings):
        todo = f"mend it, then run: toolway upstreams refresh {upstream.name}"
        return [error("upstreams", f"{upstream.name} is down: {view.error}", todo), *findings]
    return findings or [good("upstreams", f"{upstream.name} is {view.status}")]


def _of(whose: str, answer: Answer, now: float) -> Iterator[Finding]:
    if answer.problem:
        todo = "" if ";" in answer.problem else "see that it runs, that the URL is right, that no firewall is between"
        yield error("upstreams", f"{whose} cannot be reached: {answer.problem}", todo)
    else:
        yield good("upstreams", f"{whose} can be reached")
    if answer.expires is not None:
        yield expiry(whose, answer.expires, now)
    if answer.date is not None:
        yield off(whose, answer.date - now)


def _program(name: str, command: str) -> Finding:
    if shutil.which(command):
        return good("upstreams", f"{name}: {command} is there")
    return error("upstreams", f"{name}: there is no program {command}", "install it, or write its whole path")


def _place(url: str) -> str:
    """Without user, password, path and query."""
    return f"{url.partition('//')[0]}//{url.partition('//')[2].partition('/')[0].rpartition('@')[2]}"


async def _dialled(kernel: Kernel, url: str, settings: Any, slots: asyncio.Semaphore) -> Answer:
    guard = kernel.http.guard(allow_private=settings.allow_private)
    try:
        async with slots, asyncio.timeout(DIAL_SECONDS):
            return await _asked(guard, url, getattr(settings, "tls", None) or ClientTls(ca=None, cert=None, key=None))
    except TimeoutError:
        return Answer(f"no answer within {DIAL_SECONDS:g} s")
    except ssl.SSLCertVerificationError as failure:
        return Answer(f"its certificate is refused ({failure.verify_message})")
    except OSError as failure:
        number = failure.errno or 0  # negative for names that cannot be resolved
        return Answer(os.strerror(number) if number > 0 else failure.strerror or type(failure).__name__)
    except ToolwayError as refused:
        return Answer(refused.message)


async def _asked(guard: EgressGuard, url: str, tls: ClientTls) -> Answer:
    target = guard.check_url(url)
    host, port = target.host or "", target.port or 443
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
    address = str(found[0][4][0])
    guard.check_address(ip_address(address))
    context = tls_context(tls) if target.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=host if context else None, limit=HEAD_BYTES
    )
    try:
        writer.write(
            f"HEAD {target.raw_path} HTTP/1.1\r\nHost: {target.raw_authority}\r\nConnection: close\r\n\r\n".encode()
        )
        return Answer("", _expires(writer), await _date(reader))
    finally:
        writer.close()


def _expires(writer: asyncio.StreamWriter) -> datetime | None:
    certificate = writer.get_extra_info("peercert")
    if not certificate:
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)


async def _date(reader: asyncio.StreamReader) -> float | None:
    """The time of an endpoint; None when it tells none, or answers HEAD with nothing."""
    try:
        async with asyncio.timeout(DATE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        told = DATE.search(head)
        return parsedate_to_datetime(told[1].decode("ascii")).timestamp() if told else None
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError):
        return None
