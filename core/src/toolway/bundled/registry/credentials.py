"""Credentials that were sent to the API as values: sealed for their upstream, opened when they are used."""

from __future__ import annotations

from toolway.hookspecs.secrets import Secret
from toolway.plugin import Kernel, SecretUnavailable

BROUGHT = frozenset({"vault", "aws-secrets"})
"""Schemes of references that plugins bring, whether they are enabled or not."""


def credential_purpose(upstream: str) -> str:
    """What a credential's seal is bound to."""
    return f"credential:{upstream}"


def unknown(scheme: str) -> ValueError:
    """What is said of a reference of a scheme that is not there."""
    what = f"must not be a reference of the scheme {scheme!r}, which is not known here"
    return ValueError(f"{what}; enable the plugin that brings it, or write literal:{scheme}:… for a value as it stands")


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
