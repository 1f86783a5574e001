"""Which gateway the commands talk to: options, environment, or the profile that `toolway login` saved."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:4440"


@dataclass
class Options:
    """What stands before the command's name; `json` is for scripts."""

    url: str | None = None
    token: str | None = None
    json: bool = False


options = Options()


@dataclass(frozen=True)
class Profile:
    """A gateway's base URL and the token for its API."""

    url: str
    token: str | None


def load_profile() -> Profile:
    """Options first, then TOOLWAY_URL and TOOLWAY_TOKEN, then the saved profile (its token only for its own URL)."""
    saved = _saved()
    url = (options.url or os.environ.get("TOOLWAY_URL") or saved.get("url") or DEFAULT_URL).rstrip("/")
    saved_token = saved.get("token") if saved.get("url") == url else None
    return Profile(url, options.token or os.environ.get("TOOLWAY_TOKEN") or saved_token)


def save_profile(profile: Profile) -> Path:
    """Keep it for the next commands; the file is made with mode 0600."""
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump({"url": profile.url, "token": profile.token}, file)
    path.chmod(0o600)  # it may have been there with another mode
    return path


def _path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "toolway" / "profile.json"


def _saved() -> dict[str, str]:
    try:
        content = json.loads(_path().read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return content if isinstance(content, dict) else {}
