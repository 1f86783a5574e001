"""Requests to Vault by hvac, which blocks: in a few threads, bounded in time and size, to one address."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from time import monotonic
from typing import Any
from urllib.parse import quote

import requests
from hvac import exceptions
from hvac.adapters import JSONAdapter

from toolway_vault.failures import Absent, Denied, Refused, VaultDown
from toolway_vault.settings import CertLogin, VaultSettings

MOST_BYTES = 1024 * 1024
TOLD_CHARACTERS = 200
SHORTEST = 4
"""Shorter texts that were sent are not cut out of what Vault says: they would blot out ordinary words."""


class Connection:
    """The HTTP API of one Vault."""

    def __init__(self, settings: VaultSettings) -> None:
        self._seconds = settings.timeout
        self._threads = ThreadPoolExecutor(settings.connections, thread_name_prefix="toolway-vault")
        self._session = BoundedSession(settings.timeout)
        self._session.trust_env = False  # neither proxies nor ~/.netrc
        self._session.verify = str(settings.ca) if settings.ca else True
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        if isinstance(settings.login, CertLogin):
            self._session.cert = (str(settings.login.certificate), str(settings.login.key))
        common: dict[str, Any] = {"base_uri": settings.address, "session": self._session, "timeout": settings.timeout}
        self._adapter = JSONAdapter(**common, allow_redirects=False, namespace=settings.namespace or None)
        self._outside = JSONAdapter(**common, allow_redirects=False)

    async def request(
        self, method: str, path: str, token: str = "", body: Mapping[str, Any] | None = None, *, inside: bool = True
    ) -> dict[str, Any]:
        """The JSON of the answer, empty when there is none; not `inside` is outside of the namespace.

        Raises:
            VaultDown: no usable answer in time.
            Refused: the answer is an error of status 4xx; Denied and Absent are 403 and 404.
        """
        adapter = self._adapter if inside else self._outside
        send = partial(_send, adapter, method, f"v1/{quote(path, safe='/=&?')}", token, body)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.get_running_loop().run_in_executor(self._threads, send)
        except TimeoutError:
            raise VaultDown(f"it does not answer within {self._seconds:g} s") from None
        except RuntimeError:
            raise VaultDown("the gateway is stopping") from None

    def close(self) -> None:
        """End all connections; nothing waits for a request that is on its way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()


class BoundedSession(requests.Session):
    """Reads an answer only as far as `MOST_BYTES`, and no longer than a timeout in all."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """See `requests.Session`; raises RequestException also for what is too long or too slow."""
        deadline = monotonic() + self._seconds
        response = super().send(request, **{**options, "stream": True})
        content = bytearray()
        for chunk in response.iter_content(16 * 1024):
            content += chunk
            if len(content) > MOST_BYTES or monotonic() > deadline:
                response.close()
                raise requests.exceptions.ContentDecodingError("the answer is too long or too slow")
        response._content = bytes(content)
        return response


def _send(adapter: JSONAdapter, method: str, path: str, token: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
    """Runs in a thread."""
    headers = {"X-Vault-Token": token} if token else {}
    try:
        answer = adapter.request(method, path, headers=headers, json=body)
    except exceptions.Forbidden as error:
        raise Denied(f"it refuses with 403{_told(error, token, body)}") from None
    except exceptions.InvalidPath as error:
        raise Absent(f"it answers with 404{_told(error, token, body)}") from None
    except (exceptions.InvalidRequest, exceptions.Unauthorized) as error:
        raise Refused(f"it refuses the request{_told(error, token, body)}") from None
    except exceptions.VaultDown:
        raise VaultDown("it is sealed or in maintenance (status 503)") from None
    except exceptions.VaultError as error:
        raise VaultDown(f"it answers with an error ({type(error).__name__})") from None
    except requests.exceptions.SSLError as error:
        raise VaultDown(f"TLS fails ({_reason(error)}); see plugins.vault.ca") from None
    except (requests.exceptions.RequestException, OSError) as error:
        raise VaultDown(f"there is no answer ({type(error).__name__})") from None
    except RecursionError:
        raise VaultDown("its answer is nested too deeply") from None
    return _content(answer)


def _content(answer: dict[str, Any] | requests.Response) -> dict[str, Any]:
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, requests.Response):
        if answer.status_code == 204:
            return {}
        if 300 <= answer.status_code < 400:
            raise VaultDown("it redirects, which is not followed; set plugins.vault.address to the active node")
    raise VaultDown("it does not answer with a JSON object")


def _told(error: exceptions.VaultError, token: str, body: Mapping[str, Any] | None) -> str:
    """What Vault says about it, in one line and without anything that was sent."""
    if not isinstance(error.errors, list):
        return ""
    text = " ".join("; ".join(str(each) for each in error.errors).split())
    for sent in _sent(token, body):
        text = text.replace(sent, "[redacted]")
    return f": {text[:TOLD_CHARACTERS]}" if text else ""


def _sent(token: str, body: Mapping[str, Any] | None) -> Collection[str]:
    values = [token, *(value for value in (body or {}).values() if isinstance(value, str))]
    return [value for value in values if len(value) >= SHORTEST]


def _reason(error: BaseException) -> str:
    """The innermost cause that OpenSSL names."""
    for each in reversed(list(_causes(error))):
        if isinstance(reason := getattr(each, "verify_message", None) or getattr(each, "reason", None), str):
            return reason
    return type(error).__name__


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        inner = [each for each in (*current.args, getattr(current, "reason", None)) if isinstance(each, BaseException)]
        current = inner[0] if inner else current.__cause__ or current.__context__
    return found
