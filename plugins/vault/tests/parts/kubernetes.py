"""As much of a Kubernetes API server as OpenBao's login asks: TokenReview, over TLS, for one service account."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from certificates import Authority

ACCOUNT = "system:serviceaccount:tools:toolway"
UID = "5b1c6a4e"
CLAIMS = {
    "sub": ACCOUNT,
    "kubernetes.io": {"namespace": "tools", "serviceaccount": {"name": "toolway", "uid": UID}},
}
"""What is in the token of the account."""


@contextmanager
def kubernetes(directory: Path, good_token: str) -> Iterator[tuple[str, str]]:
    """Its address, and the PEM of its authority; `good_token` is of the account `toolway` in the namespace `tools`."""
    authority = Authority("kubernetes")
    certificate, key = authority.write(directory, "kubernetes", server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(good_token))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", authority.pem
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(good_token: str) -> type[BaseHTTPRequestHandler]:
    class TokenReview(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["content-length"])))
            is_good = review["spec"]["token"] == good_token
            status: dict[str, Any] = {"authenticated": is_good, "audiences": review["spec"].get("audiences", [])}
            if is_good:
                status["user"] = {"username": ACCOUNT, "uid": UID, "groups": ["system:serviceaccounts"]}
            body = json.dumps({**review, "status": status}).encode()
            self.send_response(201)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None: ...

    return TokenReview
