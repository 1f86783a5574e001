"""Exceptions of all sorts that have secrets in them: in texts, names of files, keys, notes, bytes and odd arguments."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus

from toolway.errors import ConfigError, InvalidInput, ToolwayError, UpstreamError

Secrets = Mapping[str, str]


def told(secrets: Secrets) -> str:
    """All of them, in a sentence."""
    return " and ".join(f"{name} is {value}" for name, value in secrets.items())


def value(secrets: Secrets) -> Exception:
    """In the text."""
    return ValueError(f"cannot use it: {told(secrets)}")


def key(secrets: Secrets) -> Exception:
    """As the key."""
    return KeyError(secrets["Env"])


def file(secrets: Secrets) -> Exception:
    """As the names of two files."""
    return FileNotFoundError(2, "No such file", f"/run/{secrets['Env']}", None, f"https://u:{secrets['File']}@host/")


def group(secrets: Secrets) -> Exception:
    """In a group, in its members and deeper."""
    inner = ExceptionGroup(secrets["File"], [key(secrets), file(secrets)])
    return ExceptionGroup(f"several, with {secrets['Env']}", [value(secrets), inner])


def decoding(secrets: Secrets) -> Exception:
    """In the bytes that are no text, and in the reason."""
    found = f"{told(secrets)} \N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1", "replace")
    return UnicodeDecodeError("utf-8", found, len(found) - 1, len(found), f"after {secrets['Env']}")


def noted(secrets: Secrets) -> Exception:
    """In notes."""
    error = RuntimeError("see the notes")
    for name, each in secrets.items():
        error.add_note(f"{name} was {each}")
    return error


def odd(secrets: Secrets) -> Exception:
    """In arguments that are no texts."""
    return TypeError(secrets["Env"].encode(), {"password": secrets["File"], secrets["Literal"]: 1}, [*secrets.values()])


def long(secrets: Secrets) -> Exception:
    """So often that whoever cuts the text cuts one of them."""
    return ValueError(" ".join([secrets["Env"]] * 300))


def encoded(secrets: Secrets) -> Exception:
    """As URLs, Basic, JSON and bytes have them."""
    forms = []
    for name, each in secrets.items():
        basic = base64.b64encode(f"{name}:{each}".encode()).decode()
        forms += [quote(each, safe=""), quote_plus(each), json.dumps(each), repr(each.encode()), f"sent {basic}"]
    return OSError(5, "\n".join(forms))


class Unsayable(Exception):
    """Whoever wants to know what it says gets another exception."""

    def __str__(self) -> str:
        raise RuntimeError(f"nobody can say {self.args}")


def unsayable(secrets: Secrets) -> Exception:
    """Its text cannot be made."""
    return Unsayable(*secrets.values())


def unusable(secrets: Secrets) -> Exception:
    """An error that is told, of a configuration."""
    return ConfigError(f"it cannot be used: {told(secrets)}")


def refused(secrets: Secrets) -> Exception:
    """An error that is told, of a request."""
    return InvalidInput(f"it is refused: {told(secrets)}")


def upstream(secrets: Secrets) -> Exception:
    """An error that is told, of an upstream."""
    return UpstreamError(f"the upstream says {told(secrets)}")


def unexplained(secrets: Secrets) -> Exception:
    """An error without a meaning of its own."""
    return ToolwayError(told(secrets))


EVERY = (
    *(value, key, file, group, decoding, noted, odd, long, encoded, unsayable, unusable, refused, upstream),
    unexplained,
)
BREAKAGES: Mapping[str, Callable[[Secrets], Exception]] = {each.__name__: each for each in EVERY}
"""By name."""
