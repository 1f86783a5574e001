"""Passphrases and keys, as commands read them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from toolway.plugin import InvalidInput

ASK = "-"


def text_of(path: str) -> str:
    """A file's text, or standard input's for `-`; raises InvalidInput."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None


def passphrase(path: str | None, *, is_new: bool = False) -> str | None:
    """The first line of a file; `-` asks for it, twice when it is new."""
    if path is None:
        return None
    if path == ASK:
        asked: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True)
        return asked
    return text_of(path).partition("\n")[0].rstrip("\r")


def public_jwk(path: str) -> dict[str, Any]:
    """The public part of a key in a file."""
    from toolway_transfer.envelope import read_key

    return dict(read_key(text_of(path)).as_dict(private=False))
