"""What a refused client is told: `WWW-Authenticate` (RFC 6750 section 3) and the metadata behind it (RFC 9728)."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from toolway.errors import Forbidden, Unauthenticated

WELL_KNOWN = "/.well-known/oauth-protected-resource"
PLAIN, LONGEST = " !#$%&'()*+,/:;<=>?@[]^`{|}~", 2048
"""What a field has as it is beside letters, digits and `-._` (RFC 6750 section 3), and how much of it."""


class Challenges:
    """Those of one gateway at `public_url`; the metadata exist as soon as there are authorization servers."""

    def __init__(self, public_url: str, authorization_servers: Sequence[str]) -> None:
        self.url = public_url.rstrip("/")
        self.servers = list(authorization_servers)

    def header(self, error: Exception, path: str = "", *, presented: bool = False) -> str:
        """The value for an error, empty when it is not about credentials.

        `path` is that of the MCP endpoint, `presented` whether the request had a credential at all.
        """
        if isinstance(error, Unauthenticated):
            fields = {"realm": "toolway", **({"error": "invalid_token"} if presented else {})}
        elif isinstance(error, Forbidden) and "scope" in error.details:
            fields = {"error": "insufficient_scope", "scope": error.details["scope"]}
        else:
            return ""
        if self.servers and path:
            fields["resource_metadata"] = f"{self.url}{WELL_KNOWN}{path}"
        return "Bearer " + ", ".join(f'{name}="{quote(value[:LONGEST], PLAIN)}"' for name, value in fields.items())
