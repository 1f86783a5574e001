"""Generated requests for every operation of the API: `api_fuzz.py DIRECTORY REPORT EXAMPLES SEED [OPERATION ...]`.

Runs a gateway in the directory and writes what it answered as JSON. It has to be in a network of its own
(`loopback.alone`): what is generated are addresses of upstreams, too. One in four requests is as it was generated; in
the others names are those of objects that exist, as no schema can know them.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fronts
import schemathesis
from full_gateway import ANSWER_SECONDS, FIXED, OBJECTS, PASSWORD, FullGateway, full_gateway
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from hypothesis.errors import Unsatisfiable
from loopback import raise_loopback
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

LEFT_OUT = [ignored_auth, positive_data_acceptance]
"""Every operation is asked without a credential here; and what objects exist, or what fits together, no schema says."""

OF_UPSTREAMS = {502, 503, 504}
"""What an upstream that does not answer is told as (RFC 9110 section 15.6), where somebody asks for its answer."""

ENDED = "Exception during reset or similar"
"""SQLAlchemy replaces a connection that a service was giving back when it ended with its gateway, at a reload."""

MAY_FAIL = {"POST /api/v1/upstreams/{name}/refresh": OF_UPSTREAMS}

Found = dict[str, Any]

KNOWN: dict[str, Any] = {
    **dict.fromkeys(("server", "servers"), "all-of-demo"),
    **dict.fromkeys(("subject", "principal", "user"), "user:bystander"),
    **dict.fromkeys(("ttl", "grace", "max_ttl"), "1h"),
    **dict.fromkeys(("items", "include", "resource"), "demo/*"),
    **dict.fromkeys(("version", "old", "new"), 1),
    **dict.fromkeys(("owner", "endpoint", "tool", "known", "cursor", "draft", "team_role", "permission"), None),
    "action": "tools:call",
    "arguments": {},
    "expires_at": None,
    "level": "INFO",
    "networks": "127.0.0.0/8",
    "password": PASSWORD,
    "old_password": PASSWORD,
    "new_password": f"{PASSWORD} again",
    "prompt": "greet",
    "role": "caller",
    "scopes": "tools:call:*",
    "upstream": "demo",
    "username": "boss",
    "what": "upstreams",
}
"""What to put into members and query parameters, by their names; null takes them away."""

RIGHT: dict[str, Found] = {
    "cache": {"calls": [{"server": "all-of-demo", "name": "add", "arguments": {"a": 1, "b": 2}}]},
    "connections": {"upstream": FIXED["connections"]},
    "prompt-drafts": OBJECTS["prompt-collections"],
    "teams": {"role": "member"},
}
"""Bodies that are not of a collection."""


class Fuzz:
    """Asks, and keeps what was answered: how often which status, and what no answer should be like."""

    def __init__(self, full: FullGateway, canary: Path, examples: int, number: int) -> None:
        self._full, self._examples, self._seed = full, examples, number
        self._documents = [full.made("POST", "/export", {}), *_foreign(canary)]
        self._session = ""
        self.document = full.made("GET", "/openapi.json")
        self.statuses: dict[str, Counter[int]] = defaultdict(Counter)
        self.failures: dict[str, str] = {}
        self.without: dict[str, int] = {}

    def run(self, only: list[str]) -> None:
        """Every operation whose name contains one of the texts; all without any. Signing in is last: it locks out."""
        document = json.loads(json.dumps(self.document))
        del document["security"], document["components"]["securitySchemes"]  # credentials are not generated
        described: Any = schemathesis.openapi.from_dict(document)
        described.config.update(base_url=self._full.gate.url)
        described.config.generation.update(allow_x00=False)  # no database keeps it, so it is refused
        described.config.checks.negative_data_rejection.expected_statuses += ["410", "413", "414"]
        operations = {f"{one.method.upper()} {one.path}": one for one in _all(described)}
        for name in sorted(operations, key=lambda each: each == "POST /api/v1/session"):
            if not only or any(each in name for each in only):
                self._ask_without(name, operations[name])
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    self._ask(name, operations[name], mode)

    def _ask_without(self, name: str, operation: Any) -> None:
        path = operation.path.replace("{", "").replace("}", "")
        answer = self._full.http.request(operation.method, f"{self._full.gate.url}{path}", timeout=ANSWER_SECONDS)
        self.without[name] = answer.status_code

    def _ask(self, name: str, operation: Any, mode: GenerationMode) -> None:
        @seed(self._seed)
        @given(case=operation.as_strategy(generation_mode=mode), known=strategies.integers(0, 3))
        @settings(
            max_examples=self._examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def asked(case: Any, known: int) -> None:
            if known and mode is GenerationMode.POSITIVE:
                self._make_known(case, known)
            self._send(name, case, f"{name} with {mode.value} data")

        try:
            asked()
        except Unsatisfiable:  # nothing can be wrong with a request that has no parameters
            return

    def _make_known(self, case: Any, number: int) -> None:
        """Let the case be about what exists; the first of three is right as a whole, as far as that is known."""
        kind, path = _kind(case.operation.path), case.path_parameters
        known = {name: self._existing(kind, name, case.operation.path) for name in path}
        path.update(known)
        case.headers.pop("If-Match", None)
        if isinstance(case.query, dict):
            case.query = _filled(case.query)
        if isinstance(case.body, dict):
            case.body = _right(kind, _filled(case.body), number)
            if isinstance(case.body.get("name"), str):
                case.body["name"] = known.get("name", case.body["name"])
            if "document" in case.body:
                case.body |= {"document": self._documents[number - 1], "mode": "update" if number % 2 else "create"}

    def _existing(self, kind: str, parameter: str, path: str) -> str:
        if parameter == "account":
            return "user:bystander"
        if parameter == "ticket":
            return self._full.ticket()
        if kind == "sessions":
            found = self._full.api("GET", "/sessions", credential=self._credential(path)).json()["items"]
            return str(found[-1]["name"])
        return FIXED["autotune"] if path.endswith("/refresh") else self._full.name(kind)

    def _send(self, name: str, case: Any, what: str) -> None:
        credential = self._credential(name)
        answer = case.call(
            session=self._full.http, headers={"authorization": f"Bearer {credential}"}, timeout=ANSWER_SECONDS
        )
        self.statuses[name][answer.status_code] += 1
        if answer.status_code in MAY_FAIL.get(name, ()):
            return
        try:
            case.validate_response(answer, excluded_checks=LEFT_OUT)
        except FailureGroup as several:
            self._note(what, case, answer, *several.exceptions)
        except Failure as one:
            self._note(what, case, answer, one)
        if 200 <= answer.status_code < 300 and case.method.upper() != "GET":
            self._tidy(name, case, answer)

    def _note(self, what: str, case: Any, answer: Any, *failures: Any) -> None:
        asked, content = case.as_curl_command(), answer.content.decode(errors="replace")
        for one in failures:
            told = f"{one.message[:1000]}\n{asked[:2000]}\n{answer.status_code} {content[:1000]}"
            self.failures.setdefault(f"{what}: {one.title}", told)

    def _credential(self, name: str) -> str:
        if "/session" not in name:
            return self._full.credential
        self._session = self._session or self._full.session()
        return self._session

    def _tidy(self, name: str, case: Any, answer: Any) -> None:
        kind = _kind(case.operation.path)
        if name == "PUT /api/v1/session/password":
            self._full.made("PUT", "/users/boss/password", {"password": PASSWORD})
        if "/session" in name:
            self._session = ""
        elif case.operation.path.count("/") == 3 and case.method.upper() == "POST" and kind != "connections":
            self._full.forget(kind, answer.json().get("name", ""))
        elif "name" in case.path_parameters and case.operation.path.endswith("{name}"):
            self._full.forget(kind, case.path_parameters["name"])


def _foreign(canary: Path) -> list[Found]:
    """Files of other programs, which ask for a program to be started; it would make a file."""
    program = {"command": "/usr/bin/env", "args": ["touch", str(canary)]}
    web = {"url": "https://example.com/mcp"}
    return [{"mcpServers": {"web": web, "program": program}}, {"servers": {"program": program}}]


def _all(described: Any) -> list[Any]:
    return [result.ok() for result in described.get_all_operations()]


def _kind(path: str) -> str:
    """The collection that a path is about; empty when it is none's."""
    parts = path.split("/")
    return parts[3] if len(parts) > 3 and parts[1] == "api" else ""


def _right(kind: str, body: Found, number: int) -> Found:
    """The body with what makes it right and is hard to guess, in two of three cases."""
    if number == 1 and kind in OBJECTS and "name" in body:
        return {"name": body["name"], **OBJECTS[kind]}
    return body | {name: value for name, value in RIGHT.get(kind, {}).items() if number < 3 and name in body}


def _filled(members: Mapping[str, Any]) -> Found:
    """With what exists in place of what was generated."""
    found: Found = {}
    for name, value in members.items():
        known = KNOWN.get(name, value)
        if known is not None or name not in KNOWN:
            found[name] = [known] if isinstance(value, list) and not isinstance(known, list) else known
    return found


def main(directory: str, report: str, examples: str, number: str, *only: str) -> None:
    """Ask, and write down what was answered."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the gateway has to end, too
    raise_loopback()
    with full_gateway(Path(directory)) as full:
        canary = Path(directory, "started")
        fuzz = Fuzz(full, canary, int(examples), int(number))
        fuzz.run([*only])
        found = {
            "document": fuzz.document,
            "statuses": {name: dict(counts) for name, counts in fuzz.statuses.items()},
            "failures": fuzz.failures,
            "without": fuzz.without,
            "complaints": [line for line in fronts.complaints(full.gate) if ENDED not in line],
            "is_started": canary.exists(),
        }
    Path(report).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
