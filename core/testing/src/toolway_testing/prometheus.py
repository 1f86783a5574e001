"""A real Prometheus that scrapes a gateway, what it answers, and its tool for checking."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

from toolway_testing.polling import eventually_now
from toolway_testing.ports import free_port
from toolway_testing.servers import require_program

SECONDS = 30.0


def sample(page: str, series: str) -> float:
    """The value of one series, as it is written on a page; 0 if it is not there."""
    values = [line.split(" ")[1] for line in page.splitlines() if line.split(" ")[0] == series]
    return float(values[0]) if values else 0.0


def series_of(page: str) -> set[str]:
    """Every series of a page, as it is written there."""
    return {line.rpartition("} ")[0] or line.split(" ")[0] for line in page.splitlines() if not line.startswith("#")}


def checked(*arguments: str, given: str = "") -> str:
    """What `promtool` says; raises AssertionError when it finds something wrong."""
    tool = require_program("promtool", package="prometheus")
    done = subprocess.run([tool, *arguments], input=given, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Prometheus:
    """One that scrapes every second."""

    url: str

    def query(self, expression: str) -> Any:
        """The series that an expression has now; raises AssertionError when it is no expression."""
        return self._get("query", query=expression)["result"]

    def exemplars(self, expression: str) -> Any:
        """The exemplars of the series of an expression."""
        return self._get("query_exemplars", query=expression, start=0, end=4e9)

    def rules(self) -> Any:
        """Every rule, with its state."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> Any:
        """What is scraped, and how that went."""
        return self._get("targets")["activeTargets"]

    def _get(self, what: str, **parameters: Any) -> Any:
        try:
            with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=SECONDS) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


@contextmanager
def prometheus(directory: Path, target: str, token: str, rules: Sequence[Path] = ()) -> Iterator[Prometheus]:
    """Scrapes `http://<target>/metrics` with this token, as docs/how-to/prometheus.md has it."""
    program = require_program("prometheus")
    (directory / "token").write_text(token)
    (directory / "prometheus.json").write_text(json.dumps(_settings(directory / "token", target, rules)))
    url, log = f"http://127.0.0.1:{free_port()}", directory / "prometheus.log"
    options = {
        "--config.file": directory / "prometheus.json",  # JSON is YAML
        "--storage.tsdb.path": directory / "prometheus",
        "--web.listen-address": url.removeprefix("http://"),
        "--enable-feature": "exemplar-storage",
    }
    with log.open("w") as output:
        command = [str(program), *(f"{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        eventually_now(lambda: process.poll() is not None or _is_ready(url), SECONDS)
        assert process.poll() is None, log.read_text()
        yield Prometheus(url)
    finally:
        process.terminate()
        process.wait(SECONDS)


def _settings(token: Path, target: str, rules: Sequence[Path]) -> dict[str, Any]:
    job = {
        "job_name": "toolway",
        "authorization": {"credentials_file": str(token)},
        "static_configs": [{"targets": [target]}],
    }
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    return {"global": every, "rule_files": [str(each.resolve()) for each in rules], "scrape_configs": [job]}


def _is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/-/ready", timeout=1) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except OSError:
        return False
