"""Which gateway the commands talk to: options, environment, or one of the profiles that `toolway login` saved."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:4440"
DEFAULT = "default"


@dataclass
class Options:
    """What may stand anywhere; `json` is for scripts, `watch` repeats a command that only looks."""

    url: str | None = None
    token: str | None = None
    profile: str | None = None
    json: bool = False
    watch: bool = False


options = Options()


@dataclass(frozen=True)
class Profile:
    """A gateway's base URL and the token for its API."""

    url: str
    token: str | None = None


@dataclass
class Profiles:
    """All that are saved, by name, and the one that is used when none is named."""

    current: str
    saved: dict[str, Profile]

    @classmethod
    def load(cls) -> Profiles:
        """Those of the file; none when there is no file that can be understood."""
        try:
            content = json.loads(_path().read_text())
            return cls(content["current"], {name: Profile(**each) for name, each in content["profiles"].items()})
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return cls(DEFAULT, {})

    def save(self) -> Path:
        """Keep them for the next commands; the file is made with mode 0600."""
        path = _path()
        path.parent.mkdir(parents=True, exist_ok=True)
        profiles = {name: {"url": each.url, "token": each.token} for name, each in self.saved.items()}
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({"current": self.current, "profiles": profiles}, file)
        path.chmod(0o600)  # it may have been there with another mode
        return path


def named() -> str | None:
    """The profile that somebody asks for: --profile, then TOOLWAY_PROFILE."""
    return options.profile or os.environ.get("TOOLWAY_PROFILE")


def chosen() -> str:
    """The name of the profile: the one that is asked for, or else the one in use."""
    return named() or Profiles.load().current


def load_profile() -> Profile:
    """Options first, then TOOLWAY_URL and TOOLWAY_TOKEN, then the saved profile (its token only for its own URL)."""
    saved = Profiles.load().saved.get(chosen(), Profile(""))
    url = (options.url or os.environ.get("TOOLWAY_URL") or saved.url or DEFAULT_URL).rstrip("/")
    saved_token = saved.token if saved.url == url else None
    return Profile(url, options.token or os.environ.get("TOOLWAY_TOKEN") or saved_token)


def save_profile(profile: Profile) -> Path:
    """Keep it as the one that is chosen, which is in use from now on."""
    name, profiles = chosen(), Profiles.load()
    profiles.current = name
    profiles.saved[name] = profile
    return profiles.save()


def _path() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "toolway" / "profiles.json"
