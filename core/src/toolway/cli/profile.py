"""Which gateway the commands talk to: options, environment, or the profile that `toolway login` saved."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:4440"


@dataclass(frozen=True)
class Profile:
    """A gateway's base URL and the token for its API."""

    url: str
    token: str | None


def profile_path() -> Path:
    """`$XDG_CONFIG_HOME/toolway/profile.json`, readable by its owner only."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "toolway" / "profile.json"


def load_profile(url: str | None, token: str | None) -> Profile:
    """Options first, then TOOLWAY_URL and TOOLWAY_TOKEN, then the saved profile (its token only for its own URL)."""
    saved = _saved()
    url = (url or os.environ.get("TOOLWAY_URL") or saved.get("url") or DEFAULT_URL).rstrip("/")
    token = token or os.environ.get("TOOLWAY_TOKEN") or (saved.get("token") if saved.get("url") == url else None)
    return Profile(url, token)


def save_profile(profile: Profile) -> Path:
    """Keep it for the next commands; the file is made with mode 0600."""
    path = profile_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": profile.url, "token": profile.token}, file)
    path.chmod(0o600)
    return path


def _saved() -> dict[str, str]:
    try:
        content = json.loads(profile_path().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
