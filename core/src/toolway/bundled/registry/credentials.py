"""Credentials that were sent to the API as values: sealed for their upstream, opened when they are used."""

from __future__ import annotations

from toolway.hookspecs.secrets import Secret
from toolway.plugin import Kernel, SecretUnavailable


def credential_purpose(upstream: str) -> str:
    """What a credential's seal is bound to."""
    return f"credential:{upstream}"


class SealedScheme:
    """`sealed:<upstream>:<ciphertext>`."""

    scheme = "sealed"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def resolve(self, reference: str) -> Secret:
        """Open it; it is bound to its upstream."""
        upstream, _, token = reference.partition(":")
        value = self._kernel.seal.open(credential_purpose(upstream), token)
        if value is None:
            raise SecretUnavailable(f"a stored credential of upstream {upstream!r} cannot be opened; send it again")
        return Secret(value.decode())
