"""Names of fields, headers and parameters whose values are secret."""

from __future__ import annotations

from collections.abc import Iterable

ANYWHERE = (
    r"passw(?:or)?d[\w-]{0,20}",
    r"passphrase[\w-]{0,20}",
    r"pwd",
    r"secret(?:[_-]?[\w-]{0,20})?",
    r"(?:api|access|account|client|encryption|functions|master|private|root|shared|signing|subscription)[_-]?key",
    r"x-api-key",
    r"token",
    r"token[_-]?(?:value|secret)",
    r"(?:proxy-)?authorization",
    r"(?:set-)?cookie",
    r"session[_-]?id",
    r"client[_-]?assertion",
    r"code[_-]?verifier",
    r"connection[_-]?string",
)
"""Ends of names, in any case: `access_token` and `X-Auth-Token` end with `token`; `max_tokens` does not."""

PARAMETERS = r"[?&;](?:key|sig|signature|code|x-amz-signature|x-goog-signature)="
"""Parameters of a URL that are too short to be sure of anywhere else."""

LINES = ("authorization", "cookie")
"""After one of these, outside of quotes, the rest of the line is the value."""


def expression(more: Iterable[str]) -> str:
    """One expression for all names, with those that were added as they are written."""
    return "(?i:" + "|".join((*ANYWHERE, *more)) + ")"


def assignment(more: Iterable[str]) -> str:
    """A name and what separates it from its value: `name=`, `name: `, `"name": ` or `"name", `.

    Groups are the name and the quotation mark after it, with the backslashes before it.
    """
    name = expression(more)
    separator = r"(?:(\\*[\"'])?\s*(?::|=>?)\s*|(\\*[\"'])\s*,\s*)"
    return rf"({name}){separator}b?|{PARAMETERS}"
