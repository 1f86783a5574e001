"""What every command knows: the gateway's address, the token, whether a script reads the output."""

from __future__ import annotations

from dataclasses import dataclass

from toolway.cli.client import Client
from toolway.cli.profile import load_profile


@dataclass
class Options:
    """The options before the command's name."""

    url: str | None = None
    token: str | None = None
    json: bool = False


options = Options()


def client() -> Client:
    """The client for the chosen gateway."""
    return Client(load_profile(options.url, options.token))


def wants_json() -> bool:
    """Whether `--json` was given."""
    return options.json
