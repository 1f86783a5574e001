"""Reads secrets with boto3, which blocks: in threads, bounded in number and time."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from toolway.hookspecs.secrets import Secret
from toolway.plugin import Clock, SecretUnavailable
from toolway_aws_secrets.plugin import AwsSecretsSettings

log = logging.getLogger(__name__)

AT_ONCE = 4
RETRY_SECONDS = 1.0
REFUSALS = frozenset(
    {
        "AccessDeniedException",
        "DecryptionFailure",
        "InvalidParameterException",
        "InvalidRequestException",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
    }
)
"""Answers that are no outage: with them, a known value is not used on."""


class Reading(NamedTuple):
    """A whole secret as it was `at` (monotonic seconds)."""

    text: str
    version: str
    at: float


class AwsSecrets:
    """`aws-secrets:NAME` and `aws-secrets:NAME#key`; references to one secret share one reading."""

    scheme = "aws-secrets"

    def __init__(self, settings: AwsSecretsSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._known: dict[str, Reading] = {}
        self._tried: dict[str, float] = {}
        self._reading: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._client: Any = None

    async def resolve(self, reference: str) -> Secret:
        """See `SecretScheme`."""
        name, _, key = reference.partition("#")
        async with self._reading.setdefault(name, asyncio.Lock()):
            found, due = await self._current(name)
        value = _of_key(found.text, name, key) if key else found.text
        expires = found.at + self._settings.refresh + self._settings.stale_for
        return Secret(value, found.version, refresh_at=due, expires_at=expires)

    async def _current(self, name: str) -> tuple[Reading, float]:
        """What is known or read now, and when to look again."""
        known, now = self._known.get(name), self._clock.monotonic()
        if known is not None and now < known.at + self._settings.refresh:
            return known, known.at + self._settings.refresh
        try:
            found = self._known[name] = await self._read(name)
        except _Refused as error:
            self._known.pop(name, None)
            raise SecretUnavailable(f"aws-secrets:{name} is refused: {error}; see its name and the policies") from None
        except (BotoCoreError, ClientError, TimeoutError) as error:
            reason = type(error).__name__
            if known is None or now >= known.at + self._settings.refresh + self._settings.stale_for:
                raise SecretUnavailable(
                    f"aws-secrets:{name} cannot be read ({reason}); see region and network"
                ) from None
            log.warning("aws-secrets: %s cannot be read (%s); the known value is used", name, reason)
            return known, self._clock.monotonic() + RETRY_SECONDS
        return found, found.at + self._settings.refresh

    async def _read(self, name: str) -> Reading:
        async with asyncio.timeout(self._settings.timeout * 2), self._slots:
            answer = await asyncio.to_thread(self._get, name)
        text = answer.get("SecretString")
        if text is None:
            raise _Refused("it is binary, and only texts can be used")
        return Reading(text, str(answer.get("VersionId", "")), self._clock.monotonic())

    def _get(self, name: str) -> dict[str, Any]:
        """Runs in a thread."""
        try:
            found: dict[str, Any] = self._opened().get_secret_value(SecretId=name)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in REFUSALS:
                raise _Refused(code) from None
            raise
        return found

    def _opened(self) -> Any:
        if self._client is None:
            settings = self._settings
            bounds = Config(
                connect_timeout=settings.timeout, read_timeout=settings.timeout, retries={"total_max_attempts": 1}
            )
            session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
            self._client = session.client("secretsmanager", endpoint_url=settings.endpoint, config=bounds)
        return self._client


class _Refused(Exception):
    """AWS answers, and says no."""


def _of_key(text: str, name: str, key: str) -> str:
    try:
        value = json.loads(text)[key]
    except (ValueError, TypeError, KeyError):
        raise SecretUnavailable(
            f"aws-secrets:{name} is no JSON object with the key {key!r}; correct the reference or the secret"
        ) from None
    return value if isinstance(value, str) else json.dumps(value)
