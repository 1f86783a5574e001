"""A gateway with every plugin, each with something to do; its functions can be broken one by one while it serves."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from importlib.metadata import entry_points
from itertools import count, islice
from pathlib import Path

import canary
import faults
import running
import wire
from breakages import BREAKAGES
from canary_stage import Stage

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.processes import serving

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = faults.packages(ROOT)
INSTALLED = sorted({each.name for each in entry_points(group="toolway.plugins")} & PACKAGES)
TRIES = 5
PATIENCE = 4.0
"""Seconds that a client waits for a gateway that is broken."""
BUILDS = ("commit", "build")
"""Steps that take long, for they make a gateway."""
REPORTS = ("GET /api/v1/diagnostics/bundle", "GET /api/v1/diagnostics/checks")
"""So do these."""

GATEWAY = """[gateway]
bind = "127.0.0.1:{port}"
data_dir = "{folder}/data"
drain_delay = 0
drain_timeout = 1
hard_stop = 2
"""
TABLES = {
    "audit": 'calls = "all"\n',
    "json-logging": 'format = "{form}"\n',
    "otel": 'endpoint = "{collector}"\nsample_ratio = 1.0\nmetrics_interval = 1.0\n',
    "rate-limit": "rules = []\n",
    "reload": "watch = false\npatience = 1.0\n",
    "vault": 'address = "{closed}"\nstart_degraded = true\nlogin = {{ method = "token", token = "env:CANARY_ENV" }}\n',
}
"""Settings without which a plugin has nothing to do here, or cannot start."""

UPSTREAMS = {
    "": """[[upstreams]]
name = "env"
kind = "http"
endpoints = ["{url}"]
allow_private = true
auth = {{ type = "bearer", token = "env:CANARY_ENV" }}
[[upstreams]]
name = "literal"
kind = "http"
endpoints = ["{url}"]
allow_private = true
auth = {{ type = "basic", username = "u", password = "literal:{Literal}" }}
[[upstreams]]
name = "odd"
kind = "http"
endpoints = ["{url}"]
allow_private = true
auth = {{ type = "header", name = "X-Api-Key", value = "env:CANARY_ODD" }}
""",
    "rest": """[[upstreams]]
name = "shop"
kind = "rest"
endpoints = ["{url}"]
allow_private = true
auth = {{ type = "header", name = "X-Api-Key", value = "file:{folder}/key" }}
[[upstreams.operations]]
name = "order"
path = "/{{id}}"
parameters = [{{ name = "id", in = "path" }}]
""",
    "prompts": """[[upstreams]]
name = "prompts"
kind = "prompts"
directory = "{folder}/prompts"
""",
    "user-oauth": """[[upstreams]]
name = "own"
kind = "http"
endpoints = ["{url}"]
allow_private = true
auth = {{ type = "oauth-user", issuer = "{closed}", client_id = "x", client_secret = "env:CANARY_ENV" }}
""",
    "vault": """[[upstreams]]
name = "vaulted"
kind = "http"
endpoints = ["{url}"]
allow_private = true
auth = {{ type = "bearer", token = "vault:kv/a#b" }}
""",
}
"""Upstreams by the plugin that they need."""

HELLO = wire.message(
    "initialize",
    {"protocolVersion": wire.LEGACY, "capabilities": {}, "clientInfo": {"name": "theatre", "version": "1"}},
    1,
)

Step = Callable[[], object]


def toml(enabled: Sequence[str], known: Mapping[str, object]) -> str:
    """The configuration."""
    parts = [f"[plugins.{name}]\n{table}" for name, table in TABLES.items() if name in enabled]
    parts += [table for name, table in UPSTREAMS.items() if not name or name in enabled]
    return f"{GATEWAY}[plugins]\nenable = {json.dumps(enabled)}\n{''.join(parts)}".format(**known)


@dataclass
class Theatre:
    """The gateway, and what was broken in it.

    `ordered` has the step of every function that was to raise, `raised` how each raised that did.
    """

    stage: Stage
    control: int
    known: Mapping[str, object]
    ordered: dict[str, str] = field(default_factory=dict)
    raised: dict[str, str] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)

    def configure(self, form: str) -> None:
        """Put a configuration into force whose log is `json`, `text` or the kernel's own."""
        enabled = [name for name in INSTALLED if form or name != "json-logging"]
        self.stage.file.write_text(toml(enabled, {**self.known, "form": form}))
        faults.exchange(self.control, {})
        eventually_now(lambda: b'"in force"' in self.stage.ask("POST", "/api/v1/reload", {}).body)

    def survey(self) -> dict[str, str]:
        """Every function that can be reached, with the smallest step that does it."""
        entered = {}
        faults.exchange(self.control, {})
        for name, step in self.steps().items():
            happened = []
            for _ in range(1 if name in BUILDS else 2):  # what is done the first time only cannot be broken later
                step()
                happened.append(faults.exchange(self.control, {})["entered"])
            entered[name] = [where for where in happened[0] if where in happened[-1]]
        best: dict[str, str] = {}
        for name in sorted(entered, key=lambda name: (*(name == each for each in BUILDS), len(entered[name]))):
            for where in entered[name]:
                best.setdefault(where, name)
        return best

    def break_all(self, reached: Mapping[str, str]) -> None:
        """Let one function after the other fail, each in another way."""
        steps, kinds = self.steps(), [*BREAKAGES]
        for where, name in reached.items():
            if name in steps:  # else it is of a plugin that is not enabled now
                self._break(where, name, steps[name], kinds[len(self.ordered) % len(kinds)])

    def _break(self, where: str, name: str, step: Step, kind: str) -> None:
        told, self.ordered[where] = len(self.stage.answers), name
        for _ in range(TRIES if name in BUILDS else 1):  # the reload before may not be over
            faults.exchange(self.control, {where: kind})
            self.stage.patience = wire.SECONDS if name in BUILDS else PATIENCE
            with contextlib.suppress(OSError, HTTPException):  # it fails, after all
                step()
            self.stage.patience = wire.SECONDS
            if faults.exchange(self.control, {})["raised"]:
                self.raised[where] = kind
                break
        self.leaks += [f"{where} ({kind}) in {name}: {each}" for each in self.stage.leaks(told)]

    def failed(self, *, while_built: bool) -> set[str | None]:
        """The packages of which something raised, while they were built or else later."""
        return {
            faults.plugin_of_function(each) for each in self.raised if (self.ordered[each] in BUILDS) is while_built
        }

    def steps(self) -> dict[str, Step]:
        """What a client, an operator and time do."""
        stage, numbers = self.stage, count()
        mine = {"authorization": f"Bearer {stage.token}"}
        paths = json.loads(stage.ask("GET", "/api/v1/openapi.json").body)["paths"]
        looks = [path for path, methods in paths.items() if "get" in methods and "{" not in path]
        return {
            **{f"GET {path}": lambda path=path: stage.ask("GET", path) for path in looks},  # type: ignore[misc]
            "call": lambda: stage.call("env__echo_raw", mine),
            "rest": lambda: stage.call("shop__order", mine, {"id": "1"}),
            "own": lambda: stage.call("own__echo_raw", mine),
            "legacy": lambda: stage.send("POST", "/mcp", HELLO, {**wire.JSON_HEADERS, **mine}),
            "refresh": lambda: stage.ask("POST", "/api/v1/upstreams/odd/refresh"),
            "user": lambda: stage.ask("POST", "/api/v1/users", {"name": f"user-{os.getpid()}-{next(numbers)}"}),
            "session": lambda: stage.ask("POST", "/api/v1/session", {"username": "nobody", "password": "nothing"}),
            "export": lambda: stage.ask("POST", "/api/v1/export", {"what": []}),
            "build": lambda: stage.ask("POST", "/api/v1/reload", {"dry_run": True}),
            "commit": lambda: stage.ask("POST", "/api/v1/reload", {}),
        }


def chosen(reached: Mapping[str, str], most: int) -> dict[str, str]:
    """Of each plugin a hook, and at most so many functions from all over it that need no new gateway."""
    found: dict[str, str] = {}
    for package in sorted(PACKAGES):
        of_it = sorted(where for where in reached if faults.plugin_of_function(where) == package)
        hooks = [where for where in of_it if ":toolway_" in where]
        told = [where for where in of_it if reached[where] in REPORTS and where.endswith(":collect")]
        others = [where for where in of_it if reached[where] not in (*BUILDS, *REPORTS) or package == "diagnostics"]
        found |= {where: reached[where] for where in (*spread(hooks, 1), *spread(others, most), *told)}
    return found


def spread(everything: Sequence[str], most: int) -> list[str]:
    """At most so many of them, with equal distances."""
    return list(islice(everything[:: max(1, -(-len(everything) // most))], most))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Theatre]:
    """The gateway, until the block ends."""
    secrets = {name: canary.planted(name) for name in ("Env", "File", "Literal")} | {"Form": canary.TOKEN}
    secrets["Odd"] = f"Canary \"'\\/+=&%{canary.planted('Odd')}"
    (folder / "key").write_text(secrets["File"])
    (folder / "prompts").mkdir()
    (folder / "prompts/greet.toml").write_text('messages = [{ text = "Hello" }]\n')
    control, port, file = free_port(), free_port(), folder / "toolway.toml"
    told = {**os.environ, "CANARY_ENV": secrets["Env"], "CANARY_ODD": secrets["Odd"]}
    with running.raw_upstream(folder) as url, canary.collector() as (collector, exported):
        closed = f"http://127.0.0.1:{free_port()}"
        known = {"port": port, "url": url, "collector": collector, "closed": closed, "folder": folder, **secrets}
        file.write_text(toml(INSTALLED, {**known, "form": "json"}))
        with serving(file, environment=told | faults.installed(folder / "installed", control, secrets)) as log:
            token = re.findall(r"twa_[\w-]+", log.read_text())[0]
            stage = Stage(f"http://127.0.0.1:{port}", url.removesuffix("/mcp"), token, log, file, secrets, told)
            for name in ("env", "literal", "odd"):
                eventually_now(lambda name=name: b'"up"' in stage.ask("GET", f"/api/v1/upstreams/{name}").body)  # type: ignore[misc]
            yield Theatre(stage, control, known)
        stage.answers += [f"exported\n{each}" for each in exported]
