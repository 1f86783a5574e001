"""The gateway as an OAuth client of an upstream: a real token endpoint, and an upstream that lets nobody else in."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import fronts
import pytest
import running
import wire

SECRET = "sk-canary-6f8db599de986fab7a21625b7916589c"
AUTH = """[upstreams.auth]
type = "client-credentials"
token_url = "{base}/token"
client_id = "me"
client_secret = "literal:{secret}"

"""


class Site(ThreadingHTTPServer):
    """Gives tokens at `/token`, and passes on to an upstream what carries the newest one."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.upstream = upstream
        self.forms: list[dict[str, list[str]]] = []
        self.valid = ""

    def grant(self, form: dict[str, list[str]], authorization: str | None) -> tuple[int, dict[str, object]]:
        if authorization != f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}":
            return 401, {"error": "invalid_client"}
        self.forms.append(form)
        self.valid = f"token-{len(self.forms)}-{SECRET[-8:]}"
        return 200, {"access_token": self.valid, "token_type": "Bearer", "expires_in": 3600}


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/token":
            status, answer = self.server.grant(parse_qs(body.decode()), self.headers["authorization"])
            self._answer(status, "application/json", json.dumps(answer).encode())
        elif not self.server.valid or self.headers["authorization"] != f"Bearer {self.server.valid}":
            self._answer(401, "text/plain", b"")
        elif self.headers["mcp-method"] == "subscriptions/listen":  # a stream that does not end cannot be passed on
            self._answer(405, "text/plain", b"")
        else:
            kept = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")
            }
            passed = wire.send(self.server.upstream, "POST", body, kept)
            self._answer(passed.status, passed.headers["content-type"] or "text/plain", passed.body)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running.raw_upstream(tmp_path, "--era", "modern") as upstream, Site(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def in_front_of(site: Site, directory: Path, secret: str = SECRET) -> Iterator[running.Gateway]:
    table = running.upstream_table("guarded", f"{site.base}/mcp") + AUTH.format(base=site.base, secret=secret)
    with running.gateway(directory, table + running.server_table("guarded/*")) as gate:
        yield gate


def test_the_gateway_gets_a_token_for_the_upstream_and_another_when_it_is_refused(site: Site, tmp_path: Path) -> None:
    with in_front_of(site, tmp_path) as gate:
        running.wait_for_tool(gate, "echo_raw")
        assert wire.ModernClient(gate.endpoint).call("echo_raw").status == 200
        asked_once = list(site.forms)

        site.valid = "revoked"
        answer = wire.ModernClient(gate.endpoint).call("echo_raw")

        assert "result" in answer.reply
        assert asked_once == [{"grant_type": ["client_credentials"], "resource": [f"{site.base}/mcp"]}]
        assert len(site.forms) == 2
        assert SECRET[-8:] not in gate.log.read_text()


def test_a_refused_client_leaves_the_upstream_down_and_says_why(site: Site, tmp_path: Path) -> None:
    with in_front_of(site, tmp_path, secret="wrong") as gate:
        headers = {"Authorization": f"Bearer {fronts.admin_token(gate)}"}
        refreshed = wire.send(f"{gate.url}/api/v1/upstreams/guarded/refresh", "POST", b"", headers)

    assert (refreshed.status, json.loads(refreshed.body)["code"]) == (502, "token_refused")
    assert "invalid_client; check client id, secret and scope" in json.loads(refreshed.body)["detail"]
    assert not site.forms
