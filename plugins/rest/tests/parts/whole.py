"""Whole OpenAPI documents of public APIs, and samples of their operations."""

from __future__ import annotations

import contextlib
import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import programs
import yaml

from toolway_rest.builder import build
from toolway_rest.document import Unresolved, parse
from toolway_rest.media import is_json_media
from toolway_rest.operations import Book
from toolway_rest.reading import Described, Unusable, operations
from toolway_rest.settings import RestUpstream

ALL = os.environ.get("TOOLWAY_ALL_OPERATIONS", "0") not in ("", "0")
"""Whether every operation is called: several minutes. Otherwise one of each kind is."""

EXCUSED = {
    "digitalocean": r"reference 'models/|volumeActions_post|domains_create_record|\w+_?[aA]ctions?_post",
    "jira": r"addSecurityLevelMembers|createScreenScheme|evaluateJiraExpression|setDefaultValues",
    "adyen": r"post-(donations|payments|paymentMethods-balance|paymentSession|sessions)",
    "kubernetes": r"\w+CoreV1Namespaced(Pod|PodStatus|PodEphemeralcontainers)",
}
"""Faults of documents: references to other files that are not there, members that are required and forbidden at once.
And bodies that are too large for a whole schema."""

DOCUMENTS = {
    "adyen": ("api/adyen.com/CheckoutService-v71", 25),
    "asana": ("api/asana.com", 167),
    "box": ("api/box.com", 260),
    "digitalocean": ("api/digitalocean.com", 290),
    "github": ("api/github.com/api.github.com", 845),
    "jira": ("api/atlassian.com/jira", 498),
    "kubernetes": ("api/kubernetes.io", 845),
    "petstore": ("3.0/json/petstore", 20),
    "slack": ("api/slack.com", 174),
    "stripe": ("api/stripe.com", 452),
    "styles": ("3.1/json/parameters-style", 25),
    "twilio": ("api/twilio.com/api", 195),
    "vercel": ("api/vercel.com", 112),
}
"""Where each document is in the packages that the tests install, and how many operations become tools."""


def path_of(name: str) -> Path:
    """The file of a document, or the end of the test where it is not installed."""
    return programs.openapi_document("api/microsoft.com/graph" if name == "graph" else DOCUMENTS[name][0])


def settings_of(name: str, **changes: Any) -> RestUpstream:
    where = {"name": name, "endpoints": ("https://api.example",), "document": str(path_of(name))}
    return RestUpstream.model_validate({**where, **changes})


@lru_cache(maxsize=1)
def book_of(name: str) -> Book:
    return build(settings_of(name), parse(path_of(name).read_bytes()))


def sample(path: Path) -> list[str]:
    """Patterns for operations to call: one for each kind of operation, or all."""
    document, kinds = parse(path.read_bytes()), dict[Any, str]()
    for place, method, item in operations(document):
        described = Described(document, place, method, item)
        with contextlib.suppress(Unusable, Unresolved):
            kinds.setdefault(described.id if ALL else kind(described), described.id.replace(":", "*"))
    return list(kinds.values())


def kind(described: Described) -> tuple[Any, ...]:
    """What makes a difference to how a request is written."""
    parameters = [parameter for parameter, _ in described.parameters()]
    written = {(each.place, each.style, each.explode, each.reserved, each.is_json) for each in parameters}
    body = described.body()
    how = (body[0].kind, bool(body[0].encodings), bool(body[0].binary)) if body else None
    schema, media = described.answers()
    return described.method, frozenset(written), how, schema is None, any(map(is_json_media, media))


def faults_of(name: str, faults: list[str]) -> list[str]:
    """What went wrong and is not the fault of the document."""
    excused = EXCUSED.get(name)
    return [fault[:500] for fault in faults if excused is None or not re.search(excused, fault)]


def loaded(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    document: dict[str, Any] = yaml.safe_load(data) if path.suffix == ".yaml" else json.loads(data)
    return document
